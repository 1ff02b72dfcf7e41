create table if not exists guests (
  id integer primary key autoincrement,
  name text not null
);
