-- A SQLite file as the first builds of version 1 wrote it: its tables, without the columns that later builds added, and a session of two turns,
-- the second of which takes a message back, and one that was cleared. It never changes.
PRAGMA application_id = 1129145709;
PRAGMA user_version = 1;

CREATE TABLE sessions (
    key        INTEGER PRIMARY KEY,
    id         TEXT    NOT NULL UNIQUE,
    first      INTEGER NOT NULL DEFAULT 0,
    swept      INTEGER NOT NULL DEFAULT 0,
    created_at INTEGER,
    owner      TEXT,
    title      TEXT,
    metadata   TEXT
) STRICT;
CREATE INDEX directory ON sessions (owner, created_at, id) WHERE created_at IS NOT NULL;

CREATE TABLE records (
    session    INTEGER NOT NULL,
    seq        INTEGER NOT NULL,
    append_id  BLOB    NOT NULL,
    created_at INTEGER NOT NULL,
    expires_at INTEGER,
    purge_at   INTEGER,
    rewind     INTEGER,
    cleared_by INTEGER,
    metadata   TEXT,
    messages   TEXT,
    PRIMARY KEY (session, seq)
) STRICT;
CREATE INDEX appends ON records (session, append_id);
CREATE INDEX clears ON records (session, seq) WHERE rewind = 0;
CREATE INDEX purges ON records (purge_at) WHERE purge_at IS NOT NULL;

INSERT INTO sessions VALUES
    (1, 'trip', 0, 0, 1774000000123, 'user:42', 'Holidays', '{"pinned":true}'),
    (2, 'cleared', 0, 1, 1774000000200, NULL, NULL, NULL);
INSERT INTO records VALUES
    (1, 0, x'00112233445546778899aabbccddee00', 1774000000123, NULL, NULL, NULL, NULL, NULL,
     '[{"role":"user","content":"Where should we go in May?"},{"role":"assistant","content":"To Lisbon."}]'),
    (1, 1, x'00112233445546778899aabbccddee01', 1774000060250, NULL, NULL, NULL, NULL, NULL,
     '[{"role":"user","content":"By tarin?"}]'),
    (1, 2, x'00112233445546778899aabbccddee02', 1774000070500, NULL, NULL, 1, NULL, '{"edited":1.0}',
     '[{"role":"user","content":"By train?"}]'),
    (2, 0, x'00112233445546778899aabbccddee03', 1774000000200, NULL, 9774086400, NULL, 1, NULL, NULL),
    (2, 1, x'00112233445546778899aabbccddee04', 1774000000300, NULL, NULL, 0, NULL, NULL, '[]');
