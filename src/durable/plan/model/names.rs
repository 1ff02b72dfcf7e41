//! Names that are allowed and that something might stumble over.

/// Stable IDs. The long one has 255 bytes.
pub const IDS: &[&str] = &[
    "x",
    "a:b=c%3D",
    "__proto__",
    "class",
    "\u{fc}\u{4e2d} \"'`\n",
    "constructor",
    "Parked_x",
    "a.stable.id.of.255.bytes................................................................................................\
     ....................................................................................................................................end",
];

/// Classes.
pub const CLASSES: &[&str] = &[
    "A",
    "B",
    "C",
    "constructor",
    "__proto__",
    "\u{c4}\u{4e2d}",
    "$_",
    "Parked_A",
];
