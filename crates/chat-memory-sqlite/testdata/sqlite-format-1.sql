-- A file of format version 1, as sqlite3's .dump wrote it. It never changes.
PRAGMA application_id = 1129145709;
PRAGMA user_version = 1;
BEGIN TRANSACTION;
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
INSERT INTO sessions VALUES(1,'kept',0,0,1704103201000,'ada','Kept',NULL);
INSERT INTO sessions VALUES(2,'short',0,0,1704103203000,'ada','Over',NULL);
INSERT INTO sessions VALUES(3,'mixed',0,0,1704103204000,'ada',NULL,NULL);
INSERT INTO sessions VALUES(4,'lasting',0,0,1704103206000,'ada',NULL,NULL);
INSERT INTO sessions VALUES(5,'again',0,1,1704103210000,'ada','Second',NULL);
INSERT INTO sessions VALUES(6,'cleared',0,1,1704103211000,NULL,NULL,NULL);
INSERT INTO sessions VALUES(7,'gone',0,1,NULL,NULL,NULL,NULL);
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
INSERT INTO records VALUES(1,0,X'bfcd538012ba4e059ba880e4cc65aec5',1704103201000,NULL,NULL,NULL,NULL,NULL,'[{"role":"user","content":"one"}]');
INSERT INTO records VALUES(1,1,X'1d02ff0d3b3c4b229c830cf01a252300',1704103202000,NULL,NULL,NULL,NULL,NULL,'[{"role":"assistant","content":"two"}]');
INSERT INTO records VALUES(2,0,X'97f32c39de92484fb1cb8e8c4fe807fe',1704103203000,1704106803,1704193203,NULL,NULL,NULL,'[{"role":"user","content":"gone in an hour"}]');
INSERT INTO records VALUES(3,0,X'97372a23c5f1412ea100da7f492efb37',1704103204000,NULL,NULL,NULL,NULL,NULL,'[{"role":"user","content":"kept"}]');
INSERT INTO records VALUES(3,1,X'47c8c63657de4ec7bf490c9a21577b4f',1704103205000,1704106805,1704193205,NULL,NULL,NULL,'[{"role":"user","content":"short"}]');
INSERT INTO records VALUES(4,0,X'7bcb770c92fb49d3879748a1ed0a495d',1704103206000,1704106806,1704193206,NULL,NULL,NULL,'[{"role":"user","content":"short"}]');
INSERT INTO records VALUES(4,1,X'd7a46d56fdd9408fb39ee876b5dc5ab5',1704103207000,NULL,NULL,NULL,NULL,NULL,'[{"role":"user","content":"kept"}]');
INSERT INTO records VALUES(5,0,X'295280faff6d42a88f60ace4ec10a59a',1704103208000,NULL,1704189609,NULL,1,NULL,NULL);
INSERT INTO records VALUES(5,1,X'465aea7f8f0343ae883fff1e87dc51f3',1704103209000,NULL,NULL,0,NULL,NULL,'[]');
INSERT INTO records VALUES(5,2,X'e3d324131fc34ad6b58835f4bf62d1bf',1704103210000,1704106810,1704193210,NULL,NULL,NULL,'[{"role":"user","content":"short"}]');
INSERT INTO records VALUES(6,0,X'effee999c0f747019200fa75dc9a5f92',1704103211000,NULL,1704189612,NULL,1,NULL,NULL);
INSERT INTO records VALUES(6,1,X'6fbe792bb3894627958fac609df39469',1704103212000,NULL,NULL,0,NULL,NULL,'[]');
INSERT INTO records VALUES(7,0,X'e7bae6291a524d409f4293bc67573424',1704103213000,NULL,1704189614,NULL,1,NULL,NULL);
INSERT INTO records VALUES(7,1,X'fbdceef1b4554204ba8911ff7afe2efd',1704103214000,NULL,NULL,0,NULL,NULL,'[]');
INSERT INTO records VALUES(1,2,X'5e4e975499e94a479d818da4cebb031a',1704103215000,NULL,NULL,NULL,NULL,NULL,'[{"role":"user","content":"three"}]');
CREATE INDEX directory ON sessions (owner, created_at, id) WHERE created_at IS NOT NULL;
CREATE INDEX appends ON records (session, append_id);
CREATE INDEX clears ON records (session, seq) WHERE rewind = 0;
CREATE INDEX purges ON records (purge_at) WHERE purge_at IS NOT NULL;
COMMIT;
