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
