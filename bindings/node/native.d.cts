/** The native part; see bindings/node/native/src/lib.rs for each function. */
export interface NativeStore {
  call(operation: string, request: string): Promise<string>;
}

/** A serialized value. */
export interface TypedBytes {
  kind: string;
  bytes: Uint8Array;
}

export interface StoredWrite {
  taskId: string;
  channel: string;
  value: TypedBytes;
}

export interface StoredCheckpoint {
  id: string;
  parent?: string;
  body: TypedBytes;
  metadata: TypedBytes;
  values: { channel: string; value: TypedBytes }[];
  writes: StoredWrite[];
  isNewest: boolean;
}

export interface PutCheckpoint {
  id: string;
  parent?: string;
  fork: boolean;
  body: TypedBytes;
  metadata: TypedBytes;
  runId?: string;
  channels: { name: string; version: string; changed: boolean; value?: TypedBytes }[];
  deltaChannels: string[];
}

export interface PutWrites {
  checkpoint: string;
  taskId: string;
  taskPath: string;
  writes: { index: number; channel: string; value: TypedBytes }[];
}

export interface NativeCheckpoints {
  put(thread: string, namespace: string, checkpoint: PutCheckpoint): Promise<void>;
  putWrites(thread: string, namespace: string, task: PutWrites): Promise<void>;
  load(thread: string, namespace: string, id: string | undefined): Promise<StoredCheckpoint | null>;
  list(thread: string, namespace: string, before: string | undefined, limit: number): Promise<StoredCheckpoint[]>;
  namespaces(thread: string): Promise<string[]>;
  threads(after: string | undefined): Promise<{ threads: string[]; next?: string }>;
  history(thread: string, namespace: string, id: string | undefined, channels: string[]): Promise<{ writes: StoredWrite[]; seed?: TypedBytes }[]>;
  deleteThread(thread: string): Promise<void>;
  deleteRuns(thread: string, runs: string[]): Promise<void>;
  copyThread(source: string, target: string): Promise<void>;
  prune(thread: string): Promise<void>;
  flush(): Promise<void>;
}

export interface Native {
  NativeStore: new (setup: string) => NativeStore;
  NativeCheckpoints: new (setup: string, window: number) => NativeCheckpoints;
  integerMark(): string;
  randomSessionId(): string;
  version(): string;
}

export const native: Native;

/** The open stores of this process, by what they were opened with. Shared by both module systems. */
export const stores: Map<string, NativeStore | NativeCheckpoints>;
