/**
 * Port: the ordered key-value store of what a peer must not forget. Small: catalog logs, grants, promises, jobs; images
 * and histories live elsewhere. Every implementation passes test/contracts/store.ts.
 *
 * What was there at opening is read once, synchronously, by cores that start; after that a peer only writes.
 */
import type { Done } from '../protocols/outcome.ts'

export type Op =
  | { readonly kind: 'put'; readonly key: string; readonly value: Uint8Array }
  | { readonly kind: 'del'; readonly key: string }
  /** Every key in [gte, lt). */
  | { readonly kind: 'clear'; readonly gte: string; readonly lt: string }

export type Store = {
  /** The pairs whose keys begin with `prefix`, in key order, as they were when the store was opened. */
  recovered(prefix: string): readonly (readonly [key: string, value: Uint8Array])[]
  /**
   * All of the batch or none of it. `done` comes once it is on disk (`durable`: fsynced; others' batches may share the
   * fsync) or has failed: DISK_FULL, IO. Batches are applied in the order of the calls.
   */
  write(batch: readonly Op[], durable: boolean, done: Done<void>): void
}
