CREATE TYPE public.river_job_state AS ENUM (
    'available',
    'cancelled',
    'completed',
    'discarded',
    'pending',
    'retryable',
    'running',
    'scheduled'
);
CREATE FUNCTION public.river_job_state_in_bitmask(bitmask bit, state public.river_job_state) RETURNS boolean
    LANGUAGE sql IMMUTABLE
    AS $$
    SELECT CASE state
        WHEN 'available' THEN get_bit(bitmask, 7)
        WHEN 'cancelled' THEN get_bit(bitmask, 6)
        WHEN 'completed' THEN get_bit(bitmask, 5)
        WHEN 'discarded' THEN get_bit(bitmask, 4)
        WHEN 'pending'   THEN get_bit(bitmask, 3)
        WHEN 'retryable' THEN get_bit(bitmask, 2)
        WHEN 'running'   THEN get_bit(bitmask, 1)
        WHEN 'scheduled' THEN get_bit(bitmask, 0)
        ELSE 0
    END = 1;
$$;
CREATE TABLE public.copies_loop (
    n bigint,
    who text
);
CREATE TABLE public.copies_queue (
    n bigint,
    who text
);
CREATE TABLE public.copies_quick (
    n bigint,
    who text
);
CREATE TABLE public.copies_short (
    n bigint,
    who text
);
CREATE TABLE public.dataflow_checkpoint (
    flow_id bigint NOT NULL,
    scope text DEFAULT ''::text NOT NULL,
    partition text DEFAULT ''::text NOT NULL,
    cursor json,
    seq bigint DEFAULT 0 NOT NULL,
    read bigint DEFAULT 0 NOT NULL,
    written bigint DEFAULT 0 NOT NULL,
    redundant bigint DEFAULT 0 NOT NULL,
    filtered bigint DEFAULT 0 NOT NULL,
    dropped bigint DEFAULT 0 NOT NULL,
    dead_lettered bigint DEFAULT 0 NOT NULL,
    done boolean DEFAULT false NOT NULL,
    updated_at timestamp with time zone DEFAULT now() NOT NULL,
    updated bigint DEFAULT 0 NOT NULL,
    run_id bigint,
    moved_at timestamp with time zone,
    set_seq bigint DEFAULT 0 NOT NULL
);
CREATE TABLE public.dataflow_cursor_change (
    id bigint NOT NULL,
    flow_id bigint NOT NULL,
    from_cursor json,
    to_cursor json,
    seq bigint NOT NULL,
    actor text DEFAULT ''::text NOT NULL,
    reason text DEFAULT ''::text NOT NULL,
    created_at timestamp with time zone NOT NULL
);
ALTER TABLE public.dataflow_cursor_change ALTER COLUMN id ADD GENERATED ALWAYS AS IDENTITY (
    SEQUENCE NAME public.dataflow_cursor_change_id_seq
    START WITH 1
    INCREMENT BY 1
    NO MINVALUE
    NO MAXVALUE
    CACHE 1
);
CREATE TABLE public.dataflow_dead_letter (
    id bigint NOT NULL,
    flow_id bigint NOT NULL,
    run_id bigint NOT NULL,
    stage text NOT NULL,
    key text NOT NULL,
    payload json,
    error text NOT NULL,
    created_at timestamp with time zone DEFAULT now() NOT NULL,
    replayed_at timestamp with time zone
);
ALTER TABLE public.dataflow_dead_letter ALTER COLUMN id ADD GENERATED ALWAYS AS IDENTITY (
    SEQUENCE NAME public.dataflow_dead_letter_id_seq
    START WITH 1
    INCREMENT BY 1
    NO MINVALUE
    NO MAXVALUE
    CACHE 1
);
CREATE TABLE public.dataflow_flow (
    id bigint NOT NULL,
    name text NOT NULL COLLATE pg_catalog."C",
    source jsonb NOT NULL,
    sink jsonb NOT NULL,
    runtime jsonb NOT NULL,
    guarantee text NOT NULL,
    state text DEFAULT 'active'::text NOT NULL,
    state_by text DEFAULT ''::text NOT NULL,
    state_reason text DEFAULT ''::text NOT NULL,
    state_at timestamp with time zone,
    next_run_at timestamp with time zone,
    last_run_at timestamp with time zone,
    last_success_at timestamp with time zone,
    last_error text DEFAULT ''::text NOT NULL,
    failures integer DEFAULT 0 NOT NULL,
    code_version text DEFAULT ''::text NOT NULL,
    definition_hash text DEFAULT ''::text NOT NULL,
    created_at timestamp with time zone DEFAULT now() NOT NULL,
    updated_at timestamp with time zone DEFAULT now() NOT NULL,
    schedule jsonb DEFAULT '{}'::jsonb NOT NULL,
    schedule_at timestamp with time zone DEFAULT now() NOT NULL,
    pause_after integer DEFAULT 0 NOT NULL,
    probe_after bigint DEFAULT 0 NOT NULL,
    tripped_at timestamp with time zone,
    tripped_reason text DEFAULT ''::text NOT NULL,
    probe_at timestamp with time zone,
    runtime_from jsonb,
    CONSTRAINT dataflow_flow_name_check CHECK (((length(name) >= 1) AND (length(name) <= 200))),
    CONSTRAINT dataflow_flow_state_check CHECK ((state = ANY (ARRAY['active'::text, 'inactive'::text])))
);
ALTER TABLE public.dataflow_flow ALTER COLUMN id ADD GENERATED ALWAYS AS IDENTITY (
    SEQUENCE NAME public.dataflow_flow_id_seq
    START WITH 1
    INCREMENT BY 1
    NO MINVALUE
    NO MAXVALUE
    CACHE 1
);
CREATE TABLE public.dataflow_migration (
    version integer NOT NULL,
    name text NOT NULL,
    created_at timestamp with time zone DEFAULT now() NOT NULL
);
CREATE TABLE public.dataflow_process (
    id text NOT NULL,
    code_version text DEFAULT ''::text NOT NULL,
    flows text[] NOT NULL,
    queues text[],
    started_at timestamp with time zone NOT NULL,
    seen_at timestamp with time zone NOT NULL,
    until timestamp with time zone NOT NULL
);
CREATE TABLE public.dataflow_run (
    id bigint NOT NULL,
    flow_id bigint NOT NULL,
    state text DEFAULT 'pending'::text NOT NULL,
    trigger text NOT NULL,
    unique_key text,
    scope text DEFAULT ''::text NOT NULL,
    params json,
    scheduled_for timestamp with time zone NOT NULL,
    run_after timestamp with time zone NOT NULL,
    created_at timestamp with time zone NOT NULL,
    started_at timestamp with time zone,
    ended_at timestamp with time zone,
    attempt integer DEFAULT 0 NOT NULL,
    max_attempts integer NOT NULL,
    rescues integer DEFAULT 0 NOT NULL,
    slot integer,
    lease_no bigint DEFAULT 0 NOT NULL,
    lease_until timestamp with time zone,
    worker text DEFAULT ''::text NOT NULL,
    queue text DEFAULT ''::text NOT NULL,
    river_job_id bigint,
    read bigint DEFAULT 0 NOT NULL,
    written bigint DEFAULT 0 NOT NULL,
    redundant bigint DEFAULT 0 NOT NULL,
    filtered bigint DEFAULT 0 NOT NULL,
    dropped bigint DEFAULT 0 NOT NULL,
    dead_lettered bigint DEFAULT 0 NOT NULL,
    total bigint,
    from_cursor json,
    to_cursor json,
    error text DEFAULT ''::text NOT NULL,
    errors jsonb DEFAULT '[]'::jsonb NOT NULL,
    actor text DEFAULT ''::text NOT NULL,
    reason text DEFAULT ''::text NOT NULL,
    cancel_requested_at timestamp with time zone,
    cancelled_by text DEFAULT ''::text NOT NULL,
    cancel_reason text DEFAULT ''::text NOT NULL,
    code_version text DEFAULT ''::text NOT NULL,
    updated bigint DEFAULT 0 NOT NULL,
    until_cursor json,
    CONSTRAINT dataflow_run_check CHECK (((state = 'in_progress'::text) = (slot IS NOT NULL))),
    CONSTRAINT dataflow_run_check1 CHECK (((state = ANY (ARRAY['success'::text, 'failed'::text, 'cancelled'::text])) = (ended_at IS NOT NULL))),
    CONSTRAINT dataflow_run_state_check CHECK ((state = ANY (ARRAY['pending'::text, 'in_progress'::text, 'success'::text, 'failed'::text, 'cancelled'::text])))
);
ALTER TABLE public.dataflow_run ALTER COLUMN id ADD GENERATED ALWAYS AS IDENTITY (
    SEQUENCE NAME public.dataflow_run_id_seq
    START WITH 1
    INCREMENT BY 1
    NO MINVALUE
    NO MAXVALUE
    CACHE 1
);
CREATE TABLE public.dataflow_tick (
    id bigint NOT NULL,
    flow_id bigint NOT NULL,
    first_at timestamp with time zone NOT NULL,
    last_at timestamp with time zone NOT NULL,
    ticks bigint DEFAULT 1 NOT NULL,
    reason text NOT NULL,
    created_at timestamp with time zone DEFAULT now() NOT NULL
);
ALTER TABLE public.dataflow_tick ALTER COLUMN id ADD GENERATED ALWAYS AS IDENTITY (
    SEQUENCE NAME public.dataflow_tick_id_seq
    START WITH 1
    INCREMENT BY 1
    NO MINVALUE
    NO MAXVALUE
    CACHE 1
);
CREATE TABLE public.river_job (
    id bigint NOT NULL,
    state public.river_job_state DEFAULT 'available'::public.river_job_state NOT NULL,
    attempt smallint DEFAULT 0 NOT NULL,
    max_attempts smallint DEFAULT 25 NOT NULL,
    attempted_at timestamp with time zone,
    created_at timestamp with time zone DEFAULT now() NOT NULL,
    finalized_at timestamp with time zone,
    scheduled_at timestamp with time zone DEFAULT now() NOT NULL,
    priority smallint DEFAULT 1 NOT NULL,
    args jsonb NOT NULL,
    attempted_by text[],
    errors jsonb[],
    kind text NOT NULL,
    metadata jsonb DEFAULT '{}'::jsonb NOT NULL,
    queue text DEFAULT 'default'::text NOT NULL,
    tags character varying(255)[] DEFAULT '{}'::character varying[] NOT NULL,
    unique_key bytea,
    unique_states bit(8),
    CONSTRAINT finalized_or_finalized_at_null CHECK ((((finalized_at IS NULL) AND (state <> ALL (ARRAY['cancelled'::public.river_job_state, 'completed'::public.river_job_state, 'discarded'::public.river_job_state]))) OR ((finalized_at IS NOT NULL) AND (state = ANY (ARRAY['cancelled'::public.river_job_state, 'completed'::public.river_job_state, 'discarded'::public.river_job_state]))))),
    CONSTRAINT kind_length CHECK (((char_length(kind) > 0) AND (char_length(kind) < 128))),
    CONSTRAINT max_attempts_is_positive CHECK ((max_attempts > 0)),
    CONSTRAINT priority_in_range CHECK (((priority >= 1) AND (priority <= 4))),
    CONSTRAINT queue_length CHECK (((char_length(queue) > 0) AND (char_length(queue) < 128)))
);
CREATE SEQUENCE public.river_job_id_seq
    START WITH 1
    INCREMENT BY 1
    NO MINVALUE
    NO MAXVALUE
    CACHE 1;
ALTER SEQUENCE public.river_job_id_seq OWNED BY public.river_job.id;
CREATE UNLOGGED TABLE public.river_leader (
    elected_at timestamp with time zone NOT NULL,
    expires_at timestamp with time zone NOT NULL,
    leader_id text NOT NULL,
    name text DEFAULT 'default'::text NOT NULL,
    CONSTRAINT leader_id_length CHECK (((char_length(leader_id) > 0) AND (char_length(leader_id) < 128))),
    CONSTRAINT name_length CHECK ((name = 'default'::text))
);
CREATE TABLE public.river_migration (
    line text NOT NULL,
    version bigint NOT NULL,
    created_at timestamp with time zone DEFAULT now() NOT NULL,
    CONSTRAINT line_length CHECK (((char_length(line) > 0) AND (char_length(line) < 128))),
    CONSTRAINT version_gte_1 CHECK ((version >= 1))
);
CREATE TABLE public.river_notification (
    id bigint NOT NULL,
    created_at timestamp with time zone DEFAULT now() NOT NULL,
    payload text NOT NULL,
    topic text NOT NULL,
    CONSTRAINT topic_length CHECK (((length(topic) > 0) AND (length(topic) < 128)))
);
CREATE SEQUENCE public.river_notification_id_seq
    START WITH 1
    INCREMENT BY 1
    NO MINVALUE
    NO MAXVALUE
    CACHE 1;
ALTER SEQUENCE public.river_notification_id_seq OWNED BY public.river_notification.id;
CREATE TABLE public.river_queue (
    name text NOT NULL,
    created_at timestamp with time zone DEFAULT now() NOT NULL,
    metadata jsonb DEFAULT '{}'::jsonb NOT NULL,
    paused_at timestamp with time zone,
    updated_at timestamp with time zone DEFAULT CURRENT_TIMESTAMP NOT NULL
);
ALTER TABLE ONLY public.river_job ALTER COLUMN id SET DEFAULT nextval('public.river_job_id_seq'::regclass);
ALTER TABLE ONLY public.river_notification ALTER COLUMN id SET DEFAULT nextval('public.river_notification_id_seq'::regclass);
INSERT INTO public.copies_loop VALUES (1, 'old');
INSERT INTO public.copies_loop VALUES (2, 'old');
INSERT INTO public.copies_loop VALUES (3, 'old');
INSERT INTO public.copies_loop VALUES (4, 'old');
INSERT INTO public.copies_loop VALUES (5, 'old');
INSERT INTO public.copies_loop VALUES (6, 'old');
INSERT INTO public.copies_loop VALUES (8, 'old');
INSERT INTO public.copies_loop VALUES (9, 'old');
INSERT INTO public.copies_loop VALUES (10, 'old');
INSERT INTO public.copies_loop VALUES (11, 'old');
INSERT INTO public.copies_loop VALUES (12, 'old');
INSERT INTO public.copies_loop VALUES (13, 'old');
INSERT INTO public.copies_loop VALUES (14, 'old');
INSERT INTO public.copies_loop VALUES (15, 'old');
INSERT INTO public.copies_loop VALUES (16, 'old');
INSERT INTO public.copies_loop VALUES (18, 'old');
INSERT INTO public.copies_loop VALUES (19, 'old');
INSERT INTO public.copies_loop VALUES (20, 'old');
INSERT INTO public.copies_loop VALUES (21, 'old');
INSERT INTO public.copies_loop VALUES (22, 'old');
INSERT INTO public.copies_loop VALUES (23, 'old');
INSERT INTO public.copies_loop VALUES (24, 'old');
INSERT INTO public.copies_loop VALUES (25, 'old');
INSERT INTO public.copies_loop VALUES (26, 'old');
INSERT INTO public.copies_loop VALUES (28, 'old');
INSERT INTO public.copies_loop VALUES (29, 'old');
INSERT INTO public.copies_loop VALUES (30, 'old');
INSERT INTO public.copies_loop VALUES (31, 'old');
INSERT INTO public.copies_loop VALUES (32, 'old');
INSERT INTO public.copies_loop VALUES (33, 'old');
INSERT INTO public.copies_loop VALUES (34, 'old');
INSERT INTO public.copies_loop VALUES (35, 'old');
INSERT INTO public.copies_loop VALUES (36, 'old');
INSERT INTO public.copies_loop VALUES (38, 'old');
INSERT INTO public.copies_loop VALUES (39, 'old');
INSERT INTO public.copies_loop VALUES (40, 'old');
INSERT INTO public.copies_loop VALUES (41, 'old');
INSERT INTO public.copies_loop VALUES (42, 'old');
INSERT INTO public.copies_loop VALUES (43, 'old');
INSERT INTO public.copies_loop VALUES (44, 'old');
INSERT INTO public.copies_loop VALUES (45, 'old');
INSERT INTO public.copies_loop VALUES (46, 'old');
INSERT INTO public.copies_loop VALUES (48, 'old');
INSERT INTO public.copies_loop VALUES (49, 'old');
INSERT INTO public.copies_loop VALUES (50, 'old');
INSERT INTO public.copies_loop VALUES (51, 'old');
INSERT INTO public.copies_loop VALUES (52, 'old');
INSERT INTO public.copies_loop VALUES (53, 'old');
INSERT INTO public.copies_loop VALUES (54, 'old');
INSERT INTO public.copies_loop VALUES (55, 'old');
INSERT INTO public.copies_loop VALUES (56, 'old');
INSERT INTO public.copies_loop VALUES (58, 'old');
INSERT INTO public.copies_loop VALUES (59, 'old');
INSERT INTO public.copies_loop VALUES (60, 'old');
INSERT INTO public.copies_loop VALUES (61, 'old');
INSERT INTO public.copies_loop VALUES (62, 'old');
INSERT INTO public.copies_loop VALUES (63, 'old');
INSERT INTO public.copies_loop VALUES (64, 'old');
INSERT INTO public.copies_loop VALUES (65, 'old');
INSERT INTO public.copies_loop VALUES (66, 'old');
INSERT INTO public.copies_loop VALUES (68, 'old');
INSERT INTO public.copies_loop VALUES (69, 'old');
INSERT INTO public.copies_loop VALUES (70, 'old');
INSERT INTO public.copies_loop VALUES (71, 'old');
INSERT INTO public.copies_loop VALUES (72, 'old');
INSERT INTO public.copies_loop VALUES (73, 'old');
INSERT INTO public.copies_loop VALUES (74, 'old');
INSERT INTO public.copies_loop VALUES (75, 'old');
INSERT INTO public.copies_loop VALUES (76, 'old');
INSERT INTO public.copies_loop VALUES (78, 'old');
INSERT INTO public.copies_loop VALUES (79, 'old');
INSERT INTO public.copies_loop VALUES (80, 'old');
INSERT INTO public.copies_loop VALUES (81, 'old');
INSERT INTO public.copies_loop VALUES (82, 'old');
INSERT INTO public.copies_loop VALUES (83, 'old');
INSERT INTO public.copies_loop VALUES (84, 'old');
INSERT INTO public.copies_loop VALUES (85, 'old');
INSERT INTO public.copies_loop VALUES (86, 'old');
INSERT INTO public.copies_loop VALUES (88, 'old');
INSERT INTO public.copies_loop VALUES (89, 'old');
INSERT INTO public.copies_loop VALUES (90, 'old');
INSERT INTO public.copies_loop VALUES (91, 'old');
INSERT INTO public.copies_loop VALUES (92, 'old');
INSERT INTO public.copies_loop VALUES (93, 'old');
INSERT INTO public.copies_loop VALUES (94, 'old');
INSERT INTO public.copies_loop VALUES (95, 'old');
INSERT INTO public.copies_loop VALUES (96, 'old');
INSERT INTO public.copies_loop VALUES (98, 'old');
INSERT INTO public.copies_loop VALUES (99, 'old');
INSERT INTO public.copies_loop VALUES (100, 'old');
INSERT INTO public.copies_loop VALUES (101, 'old');
INSERT INTO public.copies_loop VALUES (102, 'old');
INSERT INTO public.copies_loop VALUES (103, 'old');
INSERT INTO public.copies_loop VALUES (104, 'old');
INSERT INTO public.copies_loop VALUES (105, 'old');
INSERT INTO public.copies_loop VALUES (106, 'old');
INSERT INTO public.copies_loop VALUES (108, 'old');
INSERT INTO public.copies_loop VALUES (109, 'old');
INSERT INTO public.copies_loop VALUES (110, 'old');
INSERT INTO public.copies_loop VALUES (111, 'old');
INSERT INTO public.copies_loop VALUES (112, 'old');
INSERT INTO public.copies_loop VALUES (113, 'old');
INSERT INTO public.copies_loop VALUES (114, 'old');
INSERT INTO public.copies_loop VALUES (115, 'old');
INSERT INTO public.copies_loop VALUES (116, 'old');
INSERT INTO public.copies_loop VALUES (118, 'old');
INSERT INTO public.copies_loop VALUES (119, 'old');
INSERT INTO public.copies_loop VALUES (120, 'old');
INSERT INTO public.copies_loop VALUES (121, 'old');
INSERT INTO public.copies_loop VALUES (122, 'old');
INSERT INTO public.copies_loop VALUES (123, 'old');
INSERT INTO public.copies_loop VALUES (124, 'old');
INSERT INTO public.copies_loop VALUES (125, 'old');
INSERT INTO public.copies_loop VALUES (126, 'old');
INSERT INTO public.copies_loop VALUES (128, 'old');
INSERT INTO public.copies_loop VALUES (129, 'old');
INSERT INTO public.copies_loop VALUES (130, 'old');
INSERT INTO public.copies_queue VALUES (1, 'old');
INSERT INTO public.copies_queue VALUES (2, 'old');
INSERT INTO public.copies_queue VALUES (3, 'old');
INSERT INTO public.copies_queue VALUES (4, 'old');
INSERT INTO public.copies_queue VALUES (5, 'old');
INSERT INTO public.copies_queue VALUES (6, 'old');
INSERT INTO public.copies_queue VALUES (8, 'old');
INSERT INTO public.copies_queue VALUES (9, 'old');
INSERT INTO public.copies_queue VALUES (10, 'old');
INSERT INTO public.copies_queue VALUES (11, 'old');
INSERT INTO public.copies_queue VALUES (12, 'old');
INSERT INTO public.copies_queue VALUES (13, 'old');
INSERT INTO public.copies_queue VALUES (14, 'old');
INSERT INTO public.copies_queue VALUES (15, 'old');
INSERT INTO public.copies_queue VALUES (16, 'old');
INSERT INTO public.copies_queue VALUES (18, 'old');
INSERT INTO public.copies_queue VALUES (19, 'old');
INSERT INTO public.copies_queue VALUES (20, 'old');
INSERT INTO public.copies_queue VALUES (21, 'old');
INSERT INTO public.copies_queue VALUES (22, 'old');
INSERT INTO public.copies_queue VALUES (23, 'old');
INSERT INTO public.copies_queue VALUES (24, 'old');
INSERT INTO public.copies_queue VALUES (25, 'old');
INSERT INTO public.copies_queue VALUES (26, 'old');
INSERT INTO public.copies_queue VALUES (28, 'old');
INSERT INTO public.copies_queue VALUES (29, 'old');
INSERT INTO public.copies_queue VALUES (30, 'old');
INSERT INTO public.copies_queue VALUES (31, 'old');
INSERT INTO public.copies_queue VALUES (32, 'old');
INSERT INTO public.copies_queue VALUES (33, 'old');
INSERT INTO public.copies_queue VALUES (34, 'old');
INSERT INTO public.copies_queue VALUES (35, 'old');
INSERT INTO public.copies_queue VALUES (36, 'old');
INSERT INTO public.copies_queue VALUES (38, 'old');
INSERT INTO public.copies_queue VALUES (39, 'old');
INSERT INTO public.copies_queue VALUES (40, 'old');
INSERT INTO public.copies_queue VALUES (41, 'old');
INSERT INTO public.copies_queue VALUES (42, 'old');
INSERT INTO public.copies_queue VALUES (43, 'old');
INSERT INTO public.copies_queue VALUES (44, 'old');
INSERT INTO public.copies_queue VALUES (45, 'old');
INSERT INTO public.copies_queue VALUES (46, 'old');
INSERT INTO public.copies_queue VALUES (48, 'old');
INSERT INTO public.copies_queue VALUES (49, 'old');
INSERT INTO public.copies_queue VALUES (50, 'old');
INSERT INTO public.copies_queue VALUES (51, 'old');
INSERT INTO public.copies_queue VALUES (52, 'old');
INSERT INTO public.copies_queue VALUES (53, 'old');
INSERT INTO public.copies_queue VALUES (54, 'old');
INSERT INTO public.copies_queue VALUES (55, 'old');
INSERT INTO public.copies_queue VALUES (56, 'old');
INSERT INTO public.copies_queue VALUES (58, 'old');
INSERT INTO public.copies_queue VALUES (59, 'old');
INSERT INTO public.copies_queue VALUES (60, 'old');
INSERT INTO public.copies_queue VALUES (61, 'old');
INSERT INTO public.copies_queue VALUES (62, 'old');
INSERT INTO public.copies_queue VALUES (63, 'old');
INSERT INTO public.copies_queue VALUES (64, 'old');
INSERT INTO public.copies_queue VALUES (65, 'old');
INSERT INTO public.copies_queue VALUES (66, 'old');
INSERT INTO public.copies_queue VALUES (68, 'old');
INSERT INTO public.copies_queue VALUES (69, 'old');
INSERT INTO public.copies_queue VALUES (70, 'old');
INSERT INTO public.copies_queue VALUES (71, 'old');
INSERT INTO public.copies_queue VALUES (72, 'old');
INSERT INTO public.copies_queue VALUES (73, 'old');
INSERT INTO public.copies_queue VALUES (74, 'old');
INSERT INTO public.copies_queue VALUES (75, 'old');
INSERT INTO public.copies_queue VALUES (76, 'old');
INSERT INTO public.copies_queue VALUES (78, 'old');
INSERT INTO public.copies_queue VALUES (79, 'old');
INSERT INTO public.copies_queue VALUES (80, 'old');
INSERT INTO public.copies_queue VALUES (81, 'old');
INSERT INTO public.copies_queue VALUES (82, 'old');
INSERT INTO public.copies_queue VALUES (83, 'old');
INSERT INTO public.copies_queue VALUES (84, 'old');
INSERT INTO public.copies_queue VALUES (85, 'old');
INSERT INTO public.copies_queue VALUES (86, 'old');
INSERT INTO public.copies_queue VALUES (88, 'old');
INSERT INTO public.copies_queue VALUES (89, 'old');
INSERT INTO public.copies_queue VALUES (90, 'old');
INSERT INTO public.copies_queue VALUES (91, 'old');
INSERT INTO public.copies_queue VALUES (92, 'old');
INSERT INTO public.copies_queue VALUES (93, 'old');
INSERT INTO public.copies_queue VALUES (94, 'old');
INSERT INTO public.copies_queue VALUES (95, 'old');
INSERT INTO public.copies_queue VALUES (96, 'old');
INSERT INTO public.copies_queue VALUES (98, 'old');
INSERT INTO public.copies_queue VALUES (99, 'old');
INSERT INTO public.copies_queue VALUES (100, 'old');
INSERT INTO public.copies_queue VALUES (101, 'old');
INSERT INTO public.copies_queue VALUES (102, 'old');
INSERT INTO public.copies_queue VALUES (103, 'old');
INSERT INTO public.copies_queue VALUES (104, 'old');
INSERT INTO public.copies_queue VALUES (105, 'old');
INSERT INTO public.copies_queue VALUES (106, 'old');
INSERT INTO public.copies_queue VALUES (108, 'old');
INSERT INTO public.copies_queue VALUES (109, 'old');
INSERT INTO public.copies_queue VALUES (110, 'old');
INSERT INTO public.copies_queue VALUES (111, 'old');
INSERT INTO public.copies_queue VALUES (112, 'old');
INSERT INTO public.copies_queue VALUES (113, 'old');
INSERT INTO public.copies_queue VALUES (114, 'old');
INSERT INTO public.copies_queue VALUES (115, 'old');
INSERT INTO public.copies_queue VALUES (116, 'old');
INSERT INTO public.copies_queue VALUES (118, 'old');
INSERT INTO public.copies_queue VALUES (119, 'old');
INSERT INTO public.copies_queue VALUES (120, 'old');
INSERT INTO public.copies_quick VALUES (1, 'old');
INSERT INTO public.copies_quick VALUES (2, 'old');
INSERT INTO public.copies_quick VALUES (3, 'old');
INSERT INTO public.copies_quick VALUES (4, 'old');
INSERT INTO public.copies_quick VALUES (5, 'old');
INSERT INTO public.copies_quick VALUES (6, 'old');
INSERT INTO public.copies_quick VALUES (8, 'old');
INSERT INTO public.copies_quick VALUES (9, 'old');
INSERT INTO public.copies_quick VALUES (10, 'old');
INSERT INTO public.copies_quick VALUES (11, 'old');
INSERT INTO public.copies_quick VALUES (12, 'old');
INSERT INTO public.copies_quick VALUES (13, 'old');
INSERT INTO public.copies_quick VALUES (14, 'old');
INSERT INTO public.copies_quick VALUES (15, 'old');
INSERT INTO public.copies_quick VALUES (16, 'old');
INSERT INTO public.copies_quick VALUES (18, 'old');
INSERT INTO public.copies_quick VALUES (19, 'old');
INSERT INTO public.copies_quick VALUES (20, 'old');
INSERT INTO public.copies_short VALUES (1, 'old');
INSERT INTO public.copies_short VALUES (2, 'old');
INSERT INTO public.copies_short VALUES (3, 'old');
INSERT INTO public.copies_short VALUES (4, 'old');
INSERT INTO public.copies_short VALUES (5, 'old');
INSERT INTO public.copies_short VALUES (6, 'old');
INSERT INTO public.copies_short VALUES (8, 'old');
INSERT INTO public.copies_short VALUES (9, 'old');
INSERT INTO public.copies_short VALUES (10, 'old');
INSERT INTO public.copies_short VALUES (11, 'old');
INSERT INTO public.copies_short VALUES (12, 'old');
INSERT INTO public.copies_short VALUES (13, 'old');
INSERT INTO public.copies_short VALUES (14, 'old');
INSERT INTO public.copies_short VALUES (15, 'old');
INSERT INTO public.copies_short VALUES (16, 'old');
INSERT INTO public.copies_short VALUES (18, 'old');
INSERT INTO public.copies_short VALUES (19, 'old');
INSERT INTO public.copies_short VALUES (20, 'old');
INSERT INTO public.dataflow_checkpoint VALUES (4, '', '', '20', 2, 20, 18, 0, 0, 0, 2, false, '2026-11-29 06:26:16.125264+00', 0, 2, '2026-11-29 06:26:16.149019+00', 0);
INSERT INTO public.dataflow_checkpoint VALUES (3, '', '', '20', 2, 20, 18, 0, 0, 0, 2, false, '2026-11-29 06:26:16.130094+00', 0, 1, '2026-11-29 06:26:16.156306+00', 0);
INSERT INTO public.dataflow_checkpoint VALUES (2, '', '', '120', 14, 120, 108, 0, 0, 0, 12, false, '2026-11-29 06:26:18.635788+00', 0, 5, '2026-11-29 06:26:18.636642+00', 0);
INSERT INTO public.dataflow_checkpoint VALUES (1, '', '', '130', 14, 130, 117, 0, 0, 0, 13, false, '2026-11-29 06:26:18.805291+00', 0, 3, '2026-11-29 06:26:18.805854+00', 0);
INSERT INTO public.dataflow_dead_letter OVERRIDING SYSTEM VALUE VALUES (1, 4, 2, 'transform', '7', '7', 'number 7 is bad', '2026-11-29 06:26:16.125264+00', NULL);
INSERT INTO public.dataflow_dead_letter OVERRIDING SYSTEM VALUE VALUES (2, 4, 2, 'transform', '17', '17', 'number 17 is bad', '2026-11-29 06:26:16.125264+00', NULL);
INSERT INTO public.dataflow_dead_letter OVERRIDING SYSTEM VALUE VALUES (3, 3, 1, 'transform', '7', '7', 'number 7 is bad', '2026-11-29 06:26:16.130094+00', NULL);
INSERT INTO public.dataflow_dead_letter OVERRIDING SYSTEM VALUE VALUES (4, 3, 1, 'transform', '17', '17', 'number 17 is bad', '2026-11-29 06:26:16.130094+00', NULL);
INSERT INTO public.dataflow_dead_letter OVERRIDING SYSTEM VALUE VALUES (5, 1, 3, 'transform', '7', '7', 'number 7 is bad', '2026-11-29 06:26:16.333693+00', NULL);
INSERT INTO public.dataflow_dead_letter OVERRIDING SYSTEM VALUE VALUES (6, 2, 5, 'transform', '7', '7', 'number 7 is bad', '2026-11-29 06:26:16.347335+00', NULL);
INSERT INTO public.dataflow_dead_letter OVERRIDING SYSTEM VALUE VALUES (7, 1, 3, 'transform', '17', '17', 'number 17 is bad', '2026-11-29 06:26:16.539289+00', NULL);
INSERT INTO public.dataflow_dead_letter OVERRIDING SYSTEM VALUE VALUES (8, 2, 5, 'transform', '17', '17', 'number 17 is bad', '2026-11-29 06:26:16.561332+00', NULL);
INSERT INTO public.dataflow_dead_letter OVERRIDING SYSTEM VALUE VALUES (9, 1, 3, 'transform', '27', '27', 'number 27 is bad', '2026-11-29 06:26:16.744836+00', NULL);
INSERT INTO public.dataflow_dead_letter OVERRIDING SYSTEM VALUE VALUES (10, 2, 5, 'transform', '27', '27', 'number 27 is bad', '2026-11-29 06:26:16.766694+00', NULL);
INSERT INTO public.dataflow_dead_letter OVERRIDING SYSTEM VALUE VALUES (11, 1, 3, 'transform', '37', '37', 'number 37 is bad', '2026-11-29 06:26:16.949+00', NULL);
INSERT INTO public.dataflow_dead_letter OVERRIDING SYSTEM VALUE VALUES (12, 2, 5, 'transform', '37', '37', 'number 37 is bad', '2026-11-29 06:26:16.971385+00', NULL);
INSERT INTO public.dataflow_dead_letter OVERRIDING SYSTEM VALUE VALUES (13, 1, 3, 'transform', '47', '47', 'number 47 is bad', '2026-11-29 06:26:17.157842+00', NULL);
INSERT INTO public.dataflow_dead_letter OVERRIDING SYSTEM VALUE VALUES (14, 2, 5, 'transform', '47', '47', 'number 47 is bad', '2026-11-29 06:26:17.17826+00', NULL);
INSERT INTO public.dataflow_dead_letter OVERRIDING SYSTEM VALUE VALUES (15, 1, 3, 'transform', '57', '57', 'number 57 is bad', '2026-11-29 06:26:17.362416+00', NULL);
INSERT INTO public.dataflow_dead_letter OVERRIDING SYSTEM VALUE VALUES (16, 2, 5, 'transform', '57', '57', 'number 57 is bad', '2026-11-29 06:26:17.383022+00', NULL);
INSERT INTO public.dataflow_dead_letter OVERRIDING SYSTEM VALUE VALUES (17, 1, 3, 'transform', '67', '67', 'number 67 is bad', '2026-11-29 06:26:17.566777+00', NULL);
INSERT INTO public.dataflow_dead_letter OVERRIDING SYSTEM VALUE VALUES (18, 2, 5, 'transform', '67', '67', 'number 67 is bad', '2026-11-29 06:26:17.589385+00', NULL);
INSERT INTO public.dataflow_dead_letter OVERRIDING SYSTEM VALUE VALUES (19, 1, 3, 'transform', '77', '77', 'number 77 is bad', '2026-11-29 06:26:17.772444+00', NULL);
INSERT INTO public.dataflow_dead_letter OVERRIDING SYSTEM VALUE VALUES (20, 2, 5, 'transform', '77', '77', 'number 77 is bad', '2026-11-29 06:26:17.792757+00', NULL);
INSERT INTO public.dataflow_dead_letter OVERRIDING SYSTEM VALUE VALUES (21, 1, 3, 'transform', '87', '87', 'number 87 is bad', '2026-11-29 06:26:17.988197+00', NULL);
INSERT INTO public.dataflow_dead_letter OVERRIDING SYSTEM VALUE VALUES (22, 2, 5, 'transform', '87', '87', 'number 87 is bad', '2026-11-29 06:26:18.008805+00', NULL);
INSERT INTO public.dataflow_dead_letter OVERRIDING SYSTEM VALUE VALUES (23, 1, 3, 'transform', '97', '97', 'number 97 is bad', '2026-11-29 06:26:18.19166+00', NULL);
INSERT INTO public.dataflow_dead_letter OVERRIDING SYSTEM VALUE VALUES (24, 2, 5, 'transform', '97', '97', 'number 97 is bad', '2026-11-29 06:26:18.212445+00', NULL);
INSERT INTO public.dataflow_dead_letter OVERRIDING SYSTEM VALUE VALUES (25, 1, 3, 'transform', '107', '107', 'number 107 is bad', '2026-11-29 06:26:18.398235+00', NULL);
INSERT INTO public.dataflow_dead_letter OVERRIDING SYSTEM VALUE VALUES (26, 2, 5, 'transform', '107', '107', 'number 107 is bad', '2026-11-29 06:26:18.431175+00', NULL);
INSERT INTO public.dataflow_dead_letter OVERRIDING SYSTEM VALUE VALUES (27, 1, 3, 'transform', '117', '117', 'number 117 is bad', '2026-11-29 06:26:18.600889+00', NULL);
INSERT INTO public.dataflow_dead_letter OVERRIDING SYSTEM VALUE VALUES (28, 2, 5, 'transform', '117', '117', 'number 117 is bad', '2026-11-29 06:26:18.635788+00', NULL);
INSERT INTO public.dataflow_dead_letter OVERRIDING SYSTEM VALUE VALUES (29, 1, 3, 'transform', '127', '127', 'number 127 is bad', '2026-11-29 06:26:18.805291+00', NULL);
INSERT INTO public.dataflow_flow OVERRIDING SYSTEM VALUE VALUES (4, 'quick', '{"type": "custom"}', '{"type": "pgtable.insert", "detail": {"table": "copies_quick"}}', '{"type": "heartbeat", "enabled": true, "interval": null, "batch_size": null}', 'exactly_once', 'active', '', '', NULL, NULL, '2026-11-29 06:26:16.14953+00', '2026-11-29 06:26:16.14953+00', '', 0, 'old', '8e32e92931d84dc3', '2026-11-29 06:26:15.989663+00', '2026-11-29 06:26:15.989663+00', '{}', '2026-11-29 06:26:15.989663+00', 0, 0, NULL, '', NULL, NULL);
INSERT INTO public.dataflow_flow OVERRIDING SYSTEM VALUE VALUES (3, 'short', '{"type": "custom"}', '{"type": "pgtable.insert", "detail": {"table": "copies_short"}}', '{"type": "job_queue", "queue": "active_data_flow", "enabled": true, "interval": null, "priority": null, "batch_size": null}', 'exactly_once', 'active', '', '', NULL, NULL, '2026-11-29 06:26:16.161153+00', '2026-11-29 06:26:16.161153+00', '', 0, 'old', 'd29df608006b60d9', '2026-11-29 06:26:15.987096+00', '2026-11-29 06:26:15.987096+00', '{}', '2026-11-29 06:26:15.987096+00', 0, 0, NULL, '', NULL, NULL);
INSERT INTO public.dataflow_flow OVERRIDING SYSTEM VALUE VALUES (1, 'loop', '{"type": "custom"}', '{"type": "pgtable.insert", "detail": {"table": "copies_loop"}}', '{"type": "heartbeat", "enabled": true, "interval": 1, "batch_size": 10}', 'exactly_once', 'active', '', '', NULL, '2026-11-29 06:26:19+00', NULL, NULL, '', 0, 'old', '762a1cbb41ed3d23', '2026-11-29 06:26:15.97803+00', '2026-11-29 06:26:15.97803+00', '{"interval": 1}', '2026-11-29 06:26:15.982269+00', 0, 0, NULL, '', NULL, NULL);
INSERT INTO public.dataflow_flow OVERRIDING SYSTEM VALUE VALUES (2, 'queue', '{"type": "custom"}', '{"type": "pgtable.insert", "detail": {"table": "copies_queue"}}', '{"type": "job_queue", "queue": "active_data_flow", "enabled": true, "interval": 1, "priority": null, "batch_size": 10}', 'exactly_once', 'active', '', '', NULL, '2026-11-29 06:26:19+00', NULL, NULL, '', 0, 'old', '589c1667042875fd', '2026-11-29 06:26:15.983463+00', '2026-11-29 06:26:15.983463+00', '{"interval": 1}', '2026-11-29 06:26:15.986614+00', 0, 0, NULL, '', NULL, NULL);
INSERT INTO public.dataflow_migration VALUES (1, 'initial', '2026-11-29 06:26:15.790084+00');
INSERT INTO public.dataflow_migration VALUES (2, 'schedule', '2026-11-29 06:26:15.927075+00');
INSERT INTO public.dataflow_migration VALUES (3, 'runtime_from', '2026-11-29 06:26:15.943533+00');
INSERT INTO public.dataflow_migration VALUES (4, 'cursor', '2026-11-29 06:26:15.945958+00');
INSERT INTO public.dataflow_process VALUES ('old9531', 'old', '{loop,queue,quick,short}', '{active_data_flow}', '2026-11-29 06:26:16.018128+00', '2026-11-29 06:26:17.517253+00', '2026-11-29 06:26:23.517253+00');
INSERT INTO public.dataflow_run OVERRIDING SYSTEM VALUE VALUES (4, 1, 'pending', 'manual', 'now', '', NULL, '2026-11-29 06:26:16.047115+00', '2026-11-29 06:26:16.047115+00', '2026-11-29 06:26:16.047115+00', NULL, NULL, 0, 5, 0, NULL, 0, NULL, '', '', NULL, 0, 0, 0, 0, 0, 0, NULL, NULL, NULL, '', '[]', '', '', NULL, '', '', '', 0, NULL);
INSERT INTO public.dataflow_run OVERRIDING SYSTEM VALUE VALUES (2, 4, 'success', 'manual', NULL, '', NULL, '2026-11-29 06:26:16.044466+00', '2026-11-29 06:26:16.044466+00', '2026-11-29 06:26:16.044466+00', '2026-11-29 06:26:16.112649+00', '2026-11-29 06:26:16.153907+00', 1, 5, 0, NULL, 1, NULL, 'old9531', '', NULL, 20, 18, 0, 0, 0, 2, NULL, 'null', '20', '', '[]', '', '', NULL, '', '', 'old', 0, NULL);
INSERT INTO public.dataflow_run OVERRIDING SYSTEM VALUE VALUES (1, 3, 'success', 'manual', NULL, '', NULL, '2026-11-29 06:26:16.020234+00', '2026-11-29 06:26:16.020234+00', '2026-11-29 06:26:16.020234+00', '2026-11-29 06:26:16.119702+00', '2026-11-29 06:26:16.163301+00', 1, 5, 0, NULL, 1, NULL, 'old9531', 'active_data_flow', 1, 20, 18, 0, 0, 0, 2, NULL, 'null', '20', '', '[]', '', '', NULL, '', '', 'old', 0, NULL);
INSERT INTO public.dataflow_run OVERRIDING SYSTEM VALUE VALUES (5, 2, 'in_progress', 'manual', NULL, '', NULL, '2026-11-29 06:26:16.079045+00', '2026-11-29 06:26:18.212445+00', '2026-11-29 06:26:16.079045+00', '2026-11-29 06:26:16.124176+00', NULL, 1, 5, 0, 0, 2, '2026-11-29 06:26:21.221042+00', 'old9531', 'active_data_flow', 3, 120, 108, 0, 0, 0, 12, NULL, 'null', '120', '', '[]', '', '', NULL, '', '', 'old', 0, NULL);
INSERT INTO public.dataflow_run OVERRIDING SYSTEM VALUE VALUES (3, 1, 'in_progress', 'schedule', NULL, '', NULL, '2026-11-29 06:26:16+00', '2026-11-29 06:26:16+00', '2026-11-29 06:26:16.043315+00', '2026-11-29 06:26:16.121893+00', NULL, 1, 5, 0, 0, 1, '2026-11-29 06:26:21.126681+00', 'old9531', '', NULL, 130, 117, 0, 0, 0, 13, NULL, 'null', '130', '', '[]', '', '', NULL, '', '', 'old', 0, NULL);
INSERT INTO public.dataflow_tick OVERRIDING SYSTEM VALUE VALUES (2, 1, '2026-11-29 06:26:17+00', '2026-11-29 06:26:18+00', 2, 'overlap', '2026-11-29 06:26:17.005693+00');
INSERT INTO public.dataflow_tick OVERRIDING SYSTEM VALUE VALUES (1, 2, '2026-11-29 06:26:16+00', '2026-11-29 06:26:18+00', 3, 'overlap', '2026-11-29 06:26:16.093069+00');
INSERT INTO public.river_job VALUES (1, 'completed', 1, 5, '2026-11-29 06:26:16.113191+00', '2026-11-29 06:26:16.02544+00', '2026-11-29 06:26:16.166079+00', '2026-11-29 06:26:16.02544+00', 1, '{"run_id": 1, "flow_id": 3}', '{host_2026_11_29T06_26_15_990981}', NULL, 'data_flow', '{"flow": "short"}', 'active_data_flow', '{}', NULL, NULL);
INSERT INTO public.river_job VALUES (3, 'running', 1, 5, '2026-11-29 06:26:18.219979+00', '2026-11-29 06:26:18.2154+00', NULL, '2026-11-29 06:26:18.2154+00', 1, '{"run_id": 5, "flow_id": 2}', '{host_2026_11_29T06_26_15_990981}', NULL, 'data_flow', '{"flow": "queue"}', 'active_data_flow', '{}', NULL, NULL);
INSERT INTO public.river_job VALUES (2, 'completed', 1, 5, '2026-11-29 06:26:16.113191+00', '2026-11-29 06:26:16.079952+00', '2026-11-29 06:26:18.232963+00', '2026-11-29 06:26:16.079952+00', 1, '{"run_id": 5, "flow_id": 2}', '{host_2026_11_29T06_26_15_990981}', NULL, 'data_flow', '{"flow": "queue"}', 'active_data_flow', '{}', NULL, NULL);
INSERT INTO public.river_migration VALUES ('main', 1, '2026-11-29 06:26:15.699724+00');
INSERT INTO public.river_migration VALUES ('main', 2, '2026-11-29 06:26:15.711245+00');
INSERT INTO public.river_migration VALUES ('main', 3, '2026-11-29 06:26:15.738847+00');
INSERT INTO public.river_migration VALUES ('main', 4, '2026-11-29 06:26:15.74107+00');
INSERT INTO public.river_migration VALUES ('main', 5, '2026-11-29 06:26:15.750084+00');
INSERT INTO public.river_migration VALUES ('main', 6, '2026-11-29 06:26:15.767777+00');
INSERT INTO public.river_migration VALUES ('main', 7, '2026-11-29 06:26:15.772551+00');
INSERT INTO public.river_migration VALUES ('main', 8, '2026-11-29 06:26:15.783804+00');
INSERT INTO public.river_queue VALUES ('active_data_flow', '2026-11-29 06:26:16.001826+00', '{}', NULL, '2026-11-29 06:26:16.001826+00');
SELECT pg_catalog.setval('public.dataflow_cursor_change_id_seq', 1, false);
SELECT pg_catalog.setval('public.dataflow_dead_letter_id_seq', 29, true);
SELECT pg_catalog.setval('public.dataflow_flow_id_seq', 4, true);
SELECT pg_catalog.setval('public.dataflow_run_id_seq', 5, true);
SELECT pg_catalog.setval('public.dataflow_tick_id_seq', 2, true);
SELECT pg_catalog.setval('public.river_job_id_seq', 3, true);
SELECT pg_catalog.setval('public.river_notification_id_seq', 1, false);
ALTER TABLE ONLY public.dataflow_checkpoint
    ADD CONSTRAINT dataflow_checkpoint_pkey PRIMARY KEY (flow_id, scope, partition);
ALTER TABLE ONLY public.dataflow_cursor_change
    ADD CONSTRAINT dataflow_cursor_change_pkey PRIMARY KEY (id);
ALTER TABLE ONLY public.dataflow_dead_letter
    ADD CONSTRAINT dataflow_dead_letter_pkey PRIMARY KEY (id);
ALTER TABLE ONLY public.dataflow_flow
    ADD CONSTRAINT dataflow_flow_name_key UNIQUE (name);
ALTER TABLE ONLY public.dataflow_flow
    ADD CONSTRAINT dataflow_flow_pkey PRIMARY KEY (id);
ALTER TABLE ONLY public.dataflow_migration
    ADD CONSTRAINT dataflow_migration_pkey PRIMARY KEY (version);
ALTER TABLE ONLY public.dataflow_process
    ADD CONSTRAINT dataflow_process_pkey PRIMARY KEY (id);
ALTER TABLE ONLY public.dataflow_run
    ADD CONSTRAINT dataflow_run_pkey PRIMARY KEY (id);
ALTER TABLE ONLY public.dataflow_tick
    ADD CONSTRAINT dataflow_tick_pkey PRIMARY KEY (id);
ALTER TABLE ONLY public.river_job
    ADD CONSTRAINT river_job_pkey PRIMARY KEY (id);
ALTER TABLE ONLY public.river_leader
    ADD CONSTRAINT river_leader_pkey PRIMARY KEY (name);
ALTER TABLE ONLY public.river_migration
    ADD CONSTRAINT river_migration_pkey1 PRIMARY KEY (line, version);
ALTER TABLE ONLY public.river_notification
    ADD CONSTRAINT river_notification_pkey PRIMARY KEY (id);
ALTER TABLE ONLY public.river_queue
    ADD CONSTRAINT river_queue_pkey PRIMARY KEY (name);
CREATE INDEX dataflow_cursor_change_flow ON public.dataflow_cursor_change USING btree (flow_id, id);
CREATE INDEX dataflow_dead_letter_flow ON public.dataflow_dead_letter USING btree (flow_id, id);
CREATE INDEX dataflow_dead_letter_run ON public.dataflow_dead_letter USING btree (run_id);
CREATE INDEX dataflow_flow_next_run ON public.dataflow_flow USING btree (next_run_at) WHERE (next_run_at IS NOT NULL);
CREATE INDEX dataflow_flow_probe ON public.dataflow_flow USING btree (probe_at) WHERE (probe_at IS NOT NULL);
CREATE INDEX dataflow_run_due ON public.dataflow_run USING btree (run_after) WHERE (state = 'pending'::text);
CREATE INDEX dataflow_run_ended ON public.dataflow_run USING btree (ended_at) WHERE (ended_at IS NOT NULL);
CREATE INDEX dataflow_run_flow ON public.dataflow_run USING btree (flow_id, id);
CREATE INDEX dataflow_run_job ON public.dataflow_run USING btree (river_job_id) WHERE (river_job_id IS NOT NULL);
CREATE INDEX dataflow_run_lease ON public.dataflow_run USING btree (lease_until) WHERE (state = 'in_progress'::text);
CREATE INDEX dataflow_run_scope ON public.dataflow_run USING btree (flow_id, scope) WHERE (scope <> ''::text);
CREATE UNIQUE INDEX dataflow_run_slot ON public.dataflow_run USING btree (flow_id, slot) WHERE (state = 'in_progress'::text);
CREATE UNIQUE INDEX dataflow_run_tick ON public.dataflow_run USING btree (flow_id, scheduled_for) WHERE (trigger = 'schedule'::text);
CREATE UNIQUE INDEX dataflow_run_waiting ON public.dataflow_run USING btree (flow_id, unique_key) WHERE (state = 'pending'::text);
CREATE INDEX dataflow_tick_flow ON public.dataflow_tick USING btree (flow_id, last_at);
CREATE INDEX river_job_args_index ON public.river_job USING gin (args);
CREATE INDEX river_job_kind ON public.river_job USING btree (kind);
CREATE INDEX river_job_metadata_index ON public.river_job USING gin (metadata);
CREATE INDEX river_job_prioritized_fetching_index ON public.river_job USING btree (state, queue, priority, scheduled_at, id);
CREATE INDEX river_job_state_and_finalized_at_index ON public.river_job USING btree (state, finalized_at) WHERE (finalized_at IS NOT NULL);
CREATE UNIQUE INDEX river_job_unique_idx ON public.river_job USING btree (unique_key) WHERE ((unique_key IS NOT NULL) AND (unique_states IS NOT NULL) AND public.river_job_state_in_bitmask(unique_states, state));
CREATE INDEX river_notification_created_at_idx ON public.river_notification USING btree (created_at);
CREATE INDEX river_notification_topic_id_idx ON public.river_notification USING btree (topic, id);
ALTER TABLE ONLY public.dataflow_checkpoint
    ADD CONSTRAINT dataflow_checkpoint_flow_id_fkey FOREIGN KEY (flow_id) REFERENCES public.dataflow_flow(id);
ALTER TABLE ONLY public.dataflow_cursor_change
    ADD CONSTRAINT dataflow_cursor_change_flow_id_fkey FOREIGN KEY (flow_id) REFERENCES public.dataflow_flow(id);
ALTER TABLE ONLY public.dataflow_dead_letter
    ADD CONSTRAINT dataflow_dead_letter_flow_id_fkey FOREIGN KEY (flow_id) REFERENCES public.dataflow_flow(id);
ALTER TABLE ONLY public.dataflow_dead_letter
    ADD CONSTRAINT dataflow_dead_letter_run_id_fkey FOREIGN KEY (run_id) REFERENCES public.dataflow_run(id) ON DELETE CASCADE;
ALTER TABLE ONLY public.dataflow_run
    ADD CONSTRAINT dataflow_run_flow_id_fkey FOREIGN KEY (flow_id) REFERENCES public.dataflow_flow(id);
ALTER TABLE ONLY public.dataflow_tick
    ADD CONSTRAINT dataflow_tick_flow_id_fkey FOREIGN KEY (flow_id) REFERENCES public.dataflow_flow(id);
