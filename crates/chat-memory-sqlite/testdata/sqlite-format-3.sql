-- A file of format version 3, written by hand after docs/formats.md. It never changes.
PRAGMA application_id = 1129145709;
PRAGMA user_version = 3;
BEGIN TRANSACTION;
CREATE TABLE sessions (
    key        INTEGER PRIMARY KEY,
    id         TEXT    NOT NULL UNIQUE,
    first      INTEGER NOT NULL DEFAULT 0,
    swept      INTEGER NOT NULL DEFAULT 0,
    created_at INTEGER,
    owner      TEXT,
    title      TEXT,
    metadata   TEXT,
    last_at    INTEGER,
    expires_at INTEGER
) STRICT;
CREATE INDEX directory ON sessions (owner, created_at, id) WHERE created_at IS NOT NULL;
CREATE INDEX recent ON sessions (owner, last_at, id) WHERE created_at IS NOT NULL;

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
    sent_at    TEXT,
    PRIMARY KEY (session, seq)
) STRICT;
CREATE INDEX appends ON records (session, append_id);
CREATE INDEX clears ON records (session, seq) WHERE rewind = 0;
CREATE INDEX purges ON records (purge_at) WHERE purge_at IS NOT NULL;
INSERT INTO sessions VALUES(1,'mixed',0,0,1795390702202,'ada','Wetter',NULL,1795390703202,NULL);
INSERT INTO sessions VALUES(2,'plain',0,0,1795390704202,NULL,NULL,NULL,1795390704202,NULL);
INSERT INTO records VALUES(1,0,X'bfcd538012ba4e059ba880e4cc65aec5',1795390702202,NULL,NULL,NULL,NULL,NULL,'[{"role":"user","content":"Wie warm ist es?"}]',NULL);
INSERT INTO records VALUES(1,1,X'1d02ff0d3b3c4b229c830cf01a252300',1795390703202,NULL,NULL,NULL,NULL,NULL,'[{"parentUuid":null,"type":"user","message":{"role":"user","content":"Wie warm ist es?"},"uuid":"u-1","n":[1,1.0,18446744073709551615]},{"role":"assistant","content":"21 °C."},{"type":"summary","summary":"Wetter","id":"s-1"}]','[1795390703102,null,1795390703152]');
INSERT INTO records VALUES(2,0,X'97f32c39de92484fb1cb8e8c4fe807fe',1795390704202,NULL,NULL,NULL,NULL,NULL,'[{"role":"user","content":"plain"}]',NULL);
COMMIT;
