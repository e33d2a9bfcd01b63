//! The app's own PostgreSQL as the directory: a real server, tables as the frameworks make them, the role and the triggers
//! that `portico tenant sql` prints.

mod connect;
mod down;
mod follow;
mod lookup;
mod lookup_tools;
mod presets;
mod rig;
