/** Shapes of what the store keeps besides Raft logs: one codec per record, each with room to grow (unknown fields are dropped). */
import { codec } from '../protocols/codec.ts'
import { epoch } from '../protocols/epoch.ts'
import { imageId, name, peerId, siteId, ulid, vmId } from '../protocols/ids.ts'
import { DISKS_MAX, IMAGE_BYTES_MAX, SPEC_BYTES_MAX, TRACKERS_MAX } from '../protocols/limits.ts'
import { boolean, integer, list, type Of, oneOf, optional, record, text } from '../protocols/shape.ts'
import { key } from './keyspace.ts'
import type { Op, Store } from './store.ts'

const disks = list(record({ image: imageId, bytes: integer(0, IMAGE_BYTES_MAX) }), DISKS_MAX)

/** `meta/peer`: whose data folder this is. Written once, by init or join. */
const identityShape = record({
  format: integer(1, 2 ** 16),
  mesh: ulid,
  peer: peerId,
  peerName: name,
  site: siteId,
  siteName: name,
  /** Made by init: it proposes the mesh's first command. */
  founds: boolean,
  /** Who founds the mesh together, in one site, this peer among them; absent: this peer alone. */
  founders: optional(list(record({ peer: peerId, peerName: name, addresses: list(text(256), 16) }), 7)),
})
export type Identity = Of<typeof identityShape>
export const identity = codec('identity', identityShape)

/** `meta/left`: the mesh has agreed that this peer is none of it any more. `join` takes it away. */
const leftShape = record({ mesh: ulid, atMs: integer(0, 2 ** 48) })
const leftRecord = codec('left', leftShape)
const LEFT = key('meta', 'left')
export const leftOp = (mesh: string, atMs: number): Op => ({
  kind: 'put',
  key: LEFT,
  value: leftRecord.encode({ mesh, atMs }),
})
export const notLeftOp: Op = { kind: 'del', key: LEFT }

/** The mesh that this peer left; undefined when it is of one, or never was. */
export function leftMesh(store: Pick<Store, 'recovered'>): string | undefined {
  const [found] = store.recovered(LEFT)
  return found === undefined ? undefined : leftRecord.decode(found[1]).mesh
}

/** `grant/<vm>`: this host may run that VM under that epoch (DESIGN section 3); all it needs to boot it alone. */
const grantShape = record({
  vm: vmId,
  name,
  epoch,
  terms: oneOf('held'),
  spec: text(SPEC_BYTES_MAX),
  disks,
  wanted: oneOf('running', 'stopped'),
  deleting: boolean,
  /** The boot of the machine in which the guest was last started; another boot minds `autostart`. */
  boot: text(64, 0),
  /** How far the site's log was applied when this was taken from it: an older state of that log changes nothing here. */
  index: optional(integer(0, 2 ** 52)),
})
export type Grant = Of<typeof grantShape>
export const grant = codec('grant', grantShape)

/** `promise/<vm>`: never again under this epoch, unless m is cancelled in its log. */
const promiseShape = record({ vm: vmId, epoch, m: optional(ulid), disks })
export type HolderPromise = Of<typeof promiseShape>
export const holderPromise = codec('promise', promiseShape)

/** `pin/<image>`: what this peer holds of the image stays until it is unpinned. `name`: what it was called then. */
const pinShape = record({ image: imageId, name: text(128, 0), atMs: integer(0, 2 ** 48) })
export type Pin = Of<typeof pinShape>
const pinRecord = codec('pin', pinShape)
export const pinOp = (pin: Pin): Op => ({
  kind: 'put',
  key: key('pin', pin.image),
  value: pinRecord.encode(pin),
})
export const unpinOp = (image: string): Op => ({ kind: 'del', key: key('pin', image) })
export const pinsIn = (store: Pick<Store, 'recovered'>): Pin[] =>
  store.recovered(key('pin')).map(([, value]) => pinRecord.decode(value))

/** `peer/<id>`: where a peer was last known to listen, so that a boot needs nobody. */
const knownPeerShape = record({ id: peerId, addresses: list(text(256), 16) })
export const knownPeer = codec('known peer', knownPeerShape)

/** `publication/<info hash>`: an image that is served to BitTorrent clients whenever this peer runs. Its .torrent is a file. */
const publicationShape = record({
  image: imageId,
  infoHash: text(40),
  /** `ADDRESS:PORT`. */
  listen: text(64),
  trackers: list(text(1_024), TRACKERS_MAX),
  private: boolean,
})
export type Publication = Of<typeof publicationShape>
export const publication = codec('publication', publicationShape)

/** Where a folder's binding stands: which binding, how often it was made anew, and how often it was raised. */
const POSITION = { id: ulid, incarnation: integer(1, 2 ** 40), counter: integer(1, 2 ** 52) }
const positionShape = record(POSITION)
export type Position = Of<typeof positionShape>
/** As the mark outside has it. */
export const position: (value: unknown, at: string) => Position = positionShape

/** What the folder lies on, as far as it can be told; empty: it cannot. */
const FACTS = {
  machine: text(64, 0),
  product: text(64, 0),
  fileSystem: text(64, 0),
  folder: text(4_200, 0),
}
const factsShape = record(FACTS)
export type Facts = Of<typeof factsShape>

/** `meta/binding`: what the mark outside the folder is held against (node/binding/judge.ts). */
const bindingShape = record({ ...POSITION, ...FACTS })
export type Binding = Of<typeof bindingShape>
const bindingRecord = codec('binding', bindingShape, 8_192)
const BINDING = key('meta', 'binding')
export const bindingOp = (binding: Binding): Op => ({
  kind: 'put',
  key: BINDING,
  value: bindingRecord.encode(binding),
})

/** Undefined in a folder that was never bound. */
export function bindingIn(store: Pick<Store, 'recovered'>): Binding | undefined {
  const [found] = store.recovered(BINDING)
  return found === undefined ? undefined : bindingRecord.decode(found[1])
}

/**
 * `meta/replaced`: the folder was taken up again by `peer replace`. No state of a group that is older than its `floors`
 * places anything here: it may be from before what the folder has forgotten. 0: not known yet, so none does.
 */
const replacedShape = record({
  incarnation: integer(1, 2 ** 40),
  atMs: integer(0, 2 ** 48),
  floors: record({ mesh: integer(0, 2 ** 52), site: integer(0, 2 ** 52) }),
  /** Whether the VMs of which a move was under way then are among the doubted ones. */
  moves: oneOf('unknown', 'doubted'),
})
export type Replaced = Of<typeof replacedShape>
const replacedRecord = codec('replaced', replacedShape)
const REPLACED = key('meta', 'replaced')
export const replacedOp = (replaced: Replaced): Op => ({
  kind: 'put',
  key: REPLACED,
  value: replacedRecord.encode(replaced),
})
export function replacedIn(store: Pick<Store, 'recovered'>): Replaced | undefined {
  const [found] = store.recovered(REPLACED)
  return found === undefined ? undefined : replacedRecord.decode(found[1])
}

/** `doubt/<vm>`: the grant for it came with a folder that was replaced, and its group has not confirmed it since. */
export const doubtOp = (vm: string): Op => ({ kind: 'put', key: key('doubt', vm), value: new Uint8Array() })
export const noDoubtOp = (vm: string): Op => ({ kind: 'del', key: key('doubt', vm) })
export const doubtedIn = (store: Pick<Store, 'recovered'>): string[] =>
  store.recovered(key('doubt')).map(([at]) => at.slice(key('doubt').length))
