/** What the two hosts of a move say to each other. Bytes of disks and memory never travel in these frames. */
import { codec } from '../codec.ts'
import { epoch } from '../epoch.ts'
import { imageId, name, siteId, ulid, vmId } from '../ids.ts'
import { DISKS_MAX, IMAGE_BYTES_MAX, SPEC_BYTES_MAX } from '../limits.ts'
import { integer, list, type Of, oneOf, record, tagged, text } from '../shape.ts'

export const PROTOCOL = '/godwit/move/1'

const counter = integer(0, 2 ** 52)
const images = list(record({ image: imageId, bytes: integer(0, IMAGE_BYTES_MAX) }), DISKS_MAX)

/** What one pull has cost so far, in bytes; never decreases. */
const cost = record({
  doneBytes: counter,
  totalBytes: counter,
  dedupBytes: counter,
  compressedBytes: counter,
  wireBytes: counter,
  sources: integer(0, 1_024),
})
export type Cost = Of<typeof cost>

export const NO_COST: Cost = {
  doneBytes: 0,
  totalBytes: 0,
  dedupBytes: 0,
  compressedBytes: 0,
  wireBytes: 0,
  sources: 0,
}

/** Of two pulls, one after the other. */
export const addCosts = (a: Cost, b: Cost): Cost => ({
  doneBytes: a.doneBytes + b.doneBytes,
  totalBytes: a.totalBytes + b.totalBytes,
  dedupBytes: a.dedupBytes + b.dedupBytes,
  compressedBytes: a.compressedBytes + b.compressedBytes,
  wireBytes: a.wireBytes + b.wireBytes,
  sources: Math.max(a.sources, b.sources),
})

const shape = tagged({
  /** Source → destination: fetch these while the guest still runs. Said again until `seeded`. */
  seed: record({ m: ulid, vm: vmId, images }),
  /** Destination → source: how far it is. */
  progress: record({ m: ulid, phase: oneOf('seeding', 'fetching', 'preparing', 'taking'), cost }),
  /** Destination → source: all of them are here, verified. */
  seeded: record({ m: ulid, cost }),
  /**
   * Source → destination: the guest is stopped, its promise is synced, these are its disks. Only the committed cancel of
   * m undoes it. Said again until the outcome is known.
   */
  offer: record({
    m: ulid,
    vm: vmId,
    name,
    scope: oneOf('site', 'mesh'),
    from: siteId,
    epoch,
    spec: text(SPEC_BYTES_MAX),
    wanted: oneOf('running', 'stopped'),
    images,
  }),
  /** Destination → source: the guest runs here (or is placed here, when it was not wanted running). */
  running: record({ m: ulid, cost }),
  /** Destination → source: it cannot be done. The source cancels m in the owning log. */
  refused: record({ m: ulid, why: text(300) }),
})

export type Message = Of<typeof shape>
export const message = codec('move', shape)
