"""The tenant's notes, and a form to add one."""

from django.http import HttpResponse, HttpResponseRedirect
from django.template import engines

from notes.models import Note

PAGE = """<!doctype html><title>{{ request.tenant.name }}</title>
<ul>{% for note in notes %}<li>{{ note.text }}</li>{% endfor %}</ul>
<form method="post">{% csrf_token %}<input name="text"><button>Add</button></form>
"""


def notes(request):
    if request.method == "POST":
        Note.objects.create(text=request.POST["text"])
        return HttpResponseRedirect(request.path)
    page = engines["django"].from_string(PAGE)
    return HttpResponse(page.render({"notes": Note.objects.order_by("id")}, request))
