module.exports = { named: "named", list: [1, 2] };
module.exports.self = typeof require === "function" || typeof module;
delete module.exports.self;
