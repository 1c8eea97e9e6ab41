CREATE TABLE plans (
    hash TEXT PRIMARY KEY,
    json TEXT NOT NULL
) WITHOUT ROWID;

CREATE TABLE results (
    plan TEXT NOT NULL,
    cohort TEXT NOT NULL,
    subject TEXT NOT NULL,
    scan_id TEXT NOT NULL,
    modality TEXT NOT NULL,
    model TEXT NOT NULL,
    organ TEXT NOT NULL,
    step INTEGER NOT NULL,
    repeat INTEGER NOT NULL,
    status TEXT NOT NULL CHECK (status <> ''),
    tp INTEGER CHECK (tp IS NULL OR typeof(tp) = 'integer' AND tp >= 0),
    fp INTEGER CHECK (fp IS NULL OR typeof(fp) = 'integer' AND fp >= 0),
    fn INTEGER CHECK (fn IS NULL OR typeof(fn) = 'integer' AND fn >= 0),
    voxel_ml REAL,
    seconds REAL,
    message TEXT NOT NULL,
    PRIMARY KEY (plan, cohort, subject, scan_id, modality, model, organ, step, repeat),
    CHECK (
        CASE status
            WHEN 'ok' THEN tp IS NOT NULL AND fp IS NOT NULL AND fn IS NOT NULL
            WHEN 'no-reference' THEN tp IS NULL AND fn IS NULL
            ELSE tp IS NULL AND fp IS NULL AND fn IS NULL
        END
    )
) WITHOUT ROWID;

ALTER TABLE results ADD COLUMN synthetic INTEGER NOT NULL DEFAULT 0 CHECK (synthetic IN (0, 1));

CREATE TABLE results_3 (
    plan TEXT NOT NULL,
    cohort TEXT NOT NULL,
    subject TEXT NOT NULL,
    scan_id TEXT NOT NULL,
    modality TEXT NOT NULL,
    model TEXT NOT NULL,
    organ TEXT NOT NULL,
    step INTEGER NOT NULL,
    repeat INTEGER NOT NULL,
    status TEXT NOT NULL CHECK (status <> ''),
    tp INTEGER CHECK (tp IS NULL OR typeof(tp) = 'integer' AND tp >= 0),
    fp INTEGER CHECK (fp IS NULL OR typeof(fp) = 'integer' AND fp >= 0),
    fn INTEGER CHECK (fn IS NULL OR typeof(fn) = 'integer' AND fn >= 0),
    voxel_ml REAL,
    seconds REAL,
    message TEXT NOT NULL,
    synthetic INTEGER NOT NULL DEFAULT 0 CHECK (synthetic IN (0, 1)),
    prompt TEXT NOT NULL DEFAULT '',
    prompt_hash TEXT NOT NULL DEFAULT '',
    uses_label TEXT NOT NULL DEFAULT 'none' CHECK (uses_label IN ('none', 'click', 'box', 'crop')),
    note TEXT NOT NULL DEFAULT '',
    PRIMARY KEY (plan, cohort, subject, scan_id, modality, model, organ, step, repeat),
    CHECK (
        CASE status
            WHEN 'ok' THEN tp IS NOT NULL AND fp IS NOT NULL AND fn IS NOT NULL
            WHEN 'no-reference' THEN tp IS NULL AND fn IS NULL
            WHEN 'absent' THEN tp IS 0 AND fp IS 0 AND fn IS 0
            ELSE tp IS NULL AND fp IS NULL AND fn IS NULL
        END
    )
) WITHOUT ROWID;

INSERT INTO results_3 (
    plan, cohort, subject, scan_id, modality, model, organ, step, repeat, status, tp, fp, fn, voxel_ml, seconds,
    message, synthetic
) SELECT
    plan, cohort, subject, scan_id, modality, model, organ, step, repeat, status, tp, fp, fn, voxel_ml, seconds,
    message, synthetic
FROM results;

DROP TABLE results;

ALTER TABLE results_3 RENAME TO results;

CREATE TABLE clicks (
    plan TEXT NOT NULL,
    cohort TEXT NOT NULL,
    subject TEXT NOT NULL,
    scan_id TEXT NOT NULL,
    modality TEXT NOT NULL,
    model TEXT NOT NULL,
    organ TEXT NOT NULL,
    step INTEGER NOT NULL,
    repeat INTEGER NOT NULL,
    number INTEGER NOT NULL,
    kind TEXT NOT NULL CHECK (kind IN ('point', 'box', 'text')),
    origin TEXT NOT NULL CHECK (origin IN ('shared', 'own', 'replayed')),
    positive INTEGER NOT NULL CHECK (positive IN (0, 1)),
    voxel_x INTEGER, voxel_y INTEGER, voxel_z INTEGER,
    world_x REAL, world_y REAL, world_z REAL,
    high_x INTEGER, high_y INTEGER, high_z INTEGER,
    world_high_x REAL, world_high_y REAL, world_high_z REAL,
    text TEXT NOT NULL,
    PRIMARY KEY (plan, cohort, subject, scan_id, modality, model, organ, step, repeat, number),
    CHECK ((world_x IS NULL) = (kind = 'text') AND (world_high_x IS NULL) = (kind <> 'box'))
) WITHOUT ROWID;

ALTER TABLE results ADD COLUMN inputs TEXT NOT NULL DEFAULT '';

CREATE TABLE files (
    path TEXT PRIMARY KEY,
    size INTEGER NOT NULL,
    mtime_ns INTEGER NOT NULL,
    sha256 TEXT NOT NULL
) WITHOUT ROWID;

CREATE TABLE groups (
    cohort TEXT NOT NULL,
    subject TEXT NOT NULL,
    scan_id TEXT NOT NULL,
    name TEXT NOT NULL,
    value TEXT NOT NULL CHECK (value <> ''),
    PRIMARY KEY (cohort, subject, scan_id, name)
) WITHOUT ROWID;
