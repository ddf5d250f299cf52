/**
 * What the mesh group agrees on: admitted peers, sites, join tokens, and for each VM that ever left its creating site
 * its home and newest hand-over (DESIGN section 3). `applyMesh` is total and deterministic: the same commands in the
 * same order give the same state on every peer, and a command that cannot be carried out answers with a failure and
 * changes nothing.
 *
 * A hand-over m of one VM:   (none) ─move-intend─▶ intended ─move-take─▶ taken
 *                                                     └────move-cancel──▶ cancelled
 * Take and cancel are compare-and-set on (vm, m): the first wins, no timeout stands for either.
 */
import { codec } from '../../protocols/codec.ts'
import { compareEpochs, compareHomes, epoch, type Epoch, nextHome } from '../../protocols/epoch.ts'
import { type Failure, GodwitError } from '../../protocols/errors.ts'
import { ENDED_TOKENS, FORCED_CANCELS, REMOVERS, SITE_GENERATIONS } from '../../protocols/features.ts'
import {
  imageId,
  name,
  type PeerId,
  peerId,
  siteId,
  siteIdOfVm,
  ulid,
  type VmId,
  vmId,
} from '../../protocols/ids.ts'
import {
  COMMAND_BYTES_MAX,
  DISKS_MAX,
  IMAGE_BYTES_MAX,
  PEERS_MAX,
  REMOVED_MAX,
  SITES_MAX,
  SPEC_BYTES_MAX,
  STATE_BYTES_MAX,
  TOKENS_MAX,
  VOTERS_MAX,
} from '../../protocols/limits.ts'
import { failed, ok, type Outcome } from '../../protocols/outcome.ts'
import {
  boolean,
  dictionary,
  integer,
  list,
  matching,
  type Of,
  oneOf,
  optional,
  record,
  type Shape,
  since,
  tagged,
  text,
} from '../../protocols/shape.ts'
import { generations, register, siteGeneration } from './generations.ts'
import { generation, generationOf, heard, isUncertain, recovery } from './recovery.ts'

/**
 * A VM spec as checked JSON. It was checked in full where it was written (vm/spec.ts); here only what `apply` reads, so
 * that no entry of any log can make it throw.
 */
const specFields = record({
  cpus: integer(1, 65_536),
  memoryMiB: integer(1, 2 ** 30),
  disks: list(record({ sizeMiB: optional(integer(1, 2 ** 40)) }), DISKS_MAX),
  labels: dictionary(text(256, 0), 64),
})
export const specText: Shape<string> = (value, at) => {
  const checked = text(SPEC_BYTES_MAX)(value, at)
  let parsed: unknown
  try {
    parsed = JSON.parse(checked)
  } catch {
    throw new GodwitError({ code: 'FRAME_INVALID', at, expected: 'JSON' })
  }
  specFields(parsed, at)
  return checked
}

const addresses = list(text(256), 16)
const wallMs = integer(0, 2 ** 48)
const secretHash = matching(/^[0-9a-f]{64}$/, 'a SHA-256 in hex')
const disk = record({ image: imageId, bytes: integer(0, IMAGE_BYTES_MAX) })
export const disks = list(disk, DISKS_MAX)

/** What a hand-over is, from its intent on. */
const hand = {
  m: ulid,
  vm: vmId,
  name,
  from: siteId,
  to: siteId,
  source: peerId,
  host: peerId,
  /** Held by the source; the destination's is `takenEpoch`. */
  epoch,
  wanted: oneOf('running', 'stopped'),
}

const commandShape = tagged({
  /** The first entry of every mesh. `others` found it with `peer`, in the same site: all are first voters of both groups. */
  found: record({
    mesh: ulid,
    peer: peerId,
    peerName: name,
    site: siteId,
    siteName: name,
    addresses,
    others: optional(list(record({ peer: peerId, peerName: name, addresses }), VOTERS_MAX - 1)),
  }),
  /** `issuer` keeps its door open while the token is. */
  'token-create': record({
    id: ulid,
    secretHash,
    siteName: text(63, 0),
    expiresMs: wallMs,
    nowMs: wallMs,
    issuer: peerId,
    /** Where there are as many as may be, tokens that have ended are forgotten for it. */
    makesRoom: since(ENDED_TOKENS, optional(boolean)),
  }),
  'token-revoke': record({ id: ulid }),
  /** `newSite` names the site to be founded when `siteName` is not known yet. */
  admit: record({
    tokenId: ulid,
    secretHash,
    nowMs: wallMs,
    peer: peerId,
    peerName: name,
    siteName: name,
    newSite: siteId,
    addresses,
  }),
  'peer-update': record({ peer: peerId, addresses }),
  /** A draining peer gets no votes and no VMs, and its votes go to others. */
  'peer-drain': record({ peer: peerId, draining: boolean }),
  /** Ends the admission, and no grant. `orphans` counts the VMs that were left on it; `by`: the peer that was asked for it. */
  'peer-remove': record({
    peer: peerId,
    nowMs: wallMs,
    orphans: integer(0, 2 ** 20),
    by: since(REMOVERS, optional(peerId)),
  }),
  'move-intend': record({
    ...hand,
    spec: specText,
  }),
  'move-take': record({ m: ulid, vm: vmId, host: peerId, disks }),
  /** `epoch`: that of the intent, so that a cancel of what never came about, or is long over, has an answer too. */
  'move-cancel': record({
    m: ulid,
    vm: vmId,
    epoch,
    why: text(300),
    begun: optional(generation),
    /** An operator says that a destination that has not said is gone for good: DESIGN section 3, (d). */
    force: since(FORCED_CANCELS, optional(boolean)),
  }),
  /** Its home's log has deleted it under this epoch: nobody asks for its newest hand-over any more. The home stays. */
  'vm-deleted': record({ vm: vmId, epoch }),
  /** After a recovery: a grant that its holder has and this log may have lost (recovery.ts). */
  'present-grant': record({ peer: peerId, generation, vm: vmId, epoch, disks }),
  presented: record({ peer: peerId, generation }),
  /** A site's group was recovered (generations.ts). STALE: another successor is registered, and this one gives way. */
  'site-generation': since(SITE_GENERATIONS, siteGeneration),
})

export type MeshCommand = Of<typeof commandShape>
export const meshCommand = codec('mesh command', commandShape, COMMAND_BYTES_MAX)

const moveShape = record({
  ...hand,
  /** Empty once the move was cancelled: nobody will start from it. */
  spec: text(SPEC_BYTES_MAX, 0),
  state: oneOf('intended', 'taken', 'cancelled'),
  why: text(300, 0),
  disks,
  /** Of the mesh group when it was intended. */
  generation: optional(generation),
})
export type MeshMove = Of<typeof moveShape>

const stateShape = record({
  mesh: text(26, 0),
  /** The first voters of the mesh group, and of its first site's: what the groups' configurations start from. */
  founder: text(64, 0),
  others: optional(list(peerId, VOTERS_MAX - 1)),
  peers: dictionary(
    record({ id: peerId, name, site: siteId, addresses, draining: optional(boolean) }),
    PEERS_MAX,
  ),
  /** The newest removals: what their hosts still hold is theirs (DESIGN section 3). */
  removed: optional(
    dictionary(
      record({
        id: peerId,
        name,
        site: siteId,
        atMs: wallMs,
        orphans: integer(0, 2 ** 20),
        by: since(REMOVERS, optional(peerId)),
      }),
      REMOVED_MAX,
    ),
  ),
  sites: dictionary(record({ id: siteId, name, founder: peerId }), SITES_MAX),
  tokens: dictionary(
    record({
      id: ulid,
      secretHash,
      siteName: text(63, 0),
      expiresMs: wallMs,
      issuer: peerId,
      state: oneOf('open', 'used', 'revoked'),
      usedBy: text(64, 0),
    }),
    TOKENS_MAX,
  ),
  /** VMs whose home is not their creating site at E 1. */
  homes: dictionary(
    record({
      site: siteId,
      epoch,
      /** By force: its epoch is above what a host that is said to be gone may hold (`vm-raise` of the site). */
      unsafe: optional(boolean),
    }),
    2 ** 20,
  ),
  /** The newest hand-over of each VM. */
  moves: dictionary(moveShape, 2 ** 20),
  recovery,
  generations,
})

/** Plain data; dictionaries by id. Owned by its group, changed by `applyMesh` only. */
export type MeshState = Of<typeof stateShape>
export const meshState = codec('mesh state', stateShape, STATE_BYTES_MAX)

export const emptyMesh = (): MeshState => ({
  mesh: '',
  founder: '',
  peers: {},
  sites: {},
  tokens: {},
  homes: {},
  moves: {},
})

export type Admission = { site: string; founder: boolean; mesh: string }

/** Carries one command out. The value is what the asker is told; `admit` answers an Admission, others nothing. */
export function applyMesh(state: MeshState, command: MeshCommand): Outcome<Admission | undefined> {
  if (state.mesh === '' && command.kind !== 'found') {
    return failed({ code: 'PROPOSAL_DROPPED', group: 'mesh', why: 'the mesh is not founded yet' })
  }
  switch (command.kind) {
    case 'found': {
      if (state.mesh !== '')
        return failed({ code: 'STALE', what: 'mesh', expected: 'none', found: state.mesh })
      state.mesh = command.mesh
      state.founder = command.peer
      state.sites[command.site] = { id: command.site, name: command.siteName, founder: command.peer }
      const { others = [] } = command
      if (others.length > 0) state.others = others.map(({ peer }) => peer)
      for (const { peer, peerName, addresses } of [command, ...others])
        state.peers[peer] = { id: peer, name: peerName, site: command.site, addresses }
      return ok(undefined)
    }
    case 'token-create':
      return createToken(state, command)
    case 'token-revoke': {
      const token = state.tokens[command.id]
      if (token === undefined) return failed({ code: 'NOT_FOUND', what: 'token', name: command.id })
      if (token.state === 'open') token.state = 'revoked'
      return ok(undefined)
    }
    case 'admit':
      return admit(state, command)
    case 'peer-update': {
      const peer = state.peers[command.peer]
      if (peer === undefined) return failed({ code: 'NOT_ADMITTED', peer: command.peer })
      peer.addresses = command.addresses
      return ok(undefined)
    }
    case 'move-intend':
      return intend(state, command)
    case 'move-take': {
      const move = state.moves[command.vm]
      // Said twice by the same host: the first stands, and is what it wanted to hear.
      if (move?.m === command.m && move.state === 'taken' && move.host === command.host) return ok(undefined)
      if (move?.m !== command.m || move.state !== 'intended') return failed(cancelled(command.vm, move))
      if (move.host !== command.host) {
        return failed({ code: 'NOT_GRANTED', vm: move.name, why: 'another host was named' })
      }
      move.state = 'taken'
      move.disks = command.disks
      state.homes[command.vm] = { site: move.to, epoch: takenEpoch(move) }
      return ok(undefined)
    }
    case 'move-cancel':
      return cancel(state, command)
    case 'vm-deleted':
      return forget(state, command)
    case 'peer-drain': {
      const peer = state.peers[command.peer]
      if (peer === undefined) return failed({ code: 'NOT_ADMITTED', peer: command.peer })
      if (command.draining) peer.draining = true
      else delete peer.draining
      return ok(undefined)
    }
    case 'peer-remove':
      return remove(state, command)
    case 'present-grant':
      present(state, command)
      return ok(undefined)
    case 'presented':
      heard(state, command.peer, command.generation)
      return ok(undefined)
    case 'site-generation':
      return register(state, command)
  }
}

/** The epoch under which the destination of a hand-over runs the VM. */
export const takenEpoch = (move: Pick<MeshMove, 'epoch' | 'generation'>): Epoch =>
  nextHome(move.epoch, move.generation)

/** The admission ends; grants, homes and what lives there stay as they are, and what it has not said it has still to say. */
function remove(state: MeshState, command: MeshCommand & { kind: 'peer-remove' }): Outcome<undefined> {
  const { peer: id, nowMs: atMs, orphans, by } = command
  const peer = state.peers[id]
  // Said twice: the first was it.
  if (peer === undefined) return state.removed?.[id] === undefined ? failed(unknownPeer(id)) : ok(undefined)
  if (Object.keys(state.peers).length === 1) {
    return failed({
      code: 'ILLEGAL_STATE',
      vm: peer.name,
      state: 'the last peer of the mesh',
      wanted: 'removed',
    })
  }
  delete state.peers[id]
  const removed = Object.values(state.removed ?? {}).toSorted((a, b) => b.atMs - a.atMs)
  state.removed = Object.fromEntries(removed.slice(0, REMOVED_MAX - 1).map((each) => [each.id, each]))
  state.removed[id] = { id, name: peer.name, site: peer.site, atMs, orphans, ...(by !== undefined && { by }) }
  return ok(undefined)
}

/** A lost take shows in the grant of the host that made it: the higher home wins. */
function present(state: MeshState, command: MeshCommand & { kind: 'present-grant' }): void {
  const { peer, vm, epoch: held, disks: captured } = command
  const site = state.peers[peer]?.site
  if (command.generation !== generationOf(state) || site === undefined) return
  if (compareHomes(held, homeOf(state, vm).epoch) <= 0) return
  state.homes[vm] = { site, epoch: held }
  const move = state.moves[vm]
  if (move === undefined || compareHomes(move.epoch, held) >= 0) return
  if (move.state !== 'intended') return
  // Its own take, or one of a later move that is lost: either way this move stands no longer.
  if (move.host === peer) Object.assign(move, { state: 'taken', disks: captured })
  else Object.assign(move, { state: 'cancelled', why: 'a later move was taken', spec: '' })
}

/** The home of a VM: with no record, its creating site at E 1. */
export function homeOf(state: MeshState, vm: VmId): { site: string; epoch: Epoch } {
  return state.homes[vm] ?? { site: siteIdOfVm(vm), epoch: [0, 1, 0, 0] }
}

/** Why a host takes no more VMs; empty when it does. */
export function refusesVms({ peers }: MeshState, host: PeerId): string {
  const peer = peers[host]
  if (peer === undefined) return 'is no peer of the mesh any more'
  return peer.draining === true ? 'is draining' : ''
}

export const siteNamed = (state: MeshState, siteName: string): MeshState['sites'][string] | undefined =>
  Object.values(state.sites).find((site) => site.name === siteName)

export const peersOfSite = (state: MeshState, site: string): PeerId[] =>
  Object.values(state.peers)
    .filter((peer) => peer.site === site)
    .map(({ id }) => id)
    .toSorted()

function createToken(state: MeshState, command: MeshCommand & { kind: 'token-create' }): Outcome<undefined> {
  const { id, secretHash: hash, siteName, expiresMs, nowMs, issuer, makesRoom = false } = command
  for (const token of Object.values(state.tokens)) {
    // An ended token is remembered for a day, so that its replay is told why it is refused.
    if (token.expiresMs + 86_400_000 < nowMs) delete state.tokens[token.id]
  }
  if (makesRoom) forgetEnded(state.tokens, nowMs, TOKENS_MAX - 1)
  if (Object.keys(state.tokens).length >= TOKENS_MAX) {
    const firstMs = Math.min(...Object.values(state.tokens).map((token) => token.expiresMs))
    const retryAfterMs = makesRoom ? Math.max(0, firstMs - nowMs) : 86_400_000
    return failed({ code: 'RATE_LIMITED', what: 'join tokens', retryAfterMs })
  }
  state.tokens[id] = { id, secretHash: hash, siteName, expiresMs, issuer, state: 'open', usedBy: '' }
  return ok(undefined)
}

/**
 * Leaves `room` tokens, as far as enough have ended. When they did is not kept: revoked ones go first, then those that expired
 * by the clock of whoever asks, and those that were used last, for a peer whose answer was lost is told it again; of each
 * kind the oldest first, as ids have it.
 */
function forgetEnded(tokens: MeshState['tokens'], nowMs: number, room: number): void {
  const all = Object.values(tokens)
  const rank = ({ state }: (typeof all)[number]): number =>
    state === 'revoked' ? 0 : state === 'open' ? 1 : 2
  const ended = all
    .filter(({ expiresMs, state }) => expiresMs < nowMs || state !== 'open')
    .toSorted((a, b) => rank(a) - rank(b) || (a.id < b.id ? -1 : 1))
  for (const { id } of ended.slice(0, Math.max(0, all.length - room))) delete tokens[id]
}

function admit(state: MeshState, command: MeshCommand & { kind: 'admit' }): Outcome<Admission> {
  const { peer, peerName, siteName } = command
  const token = state.tokens[command.tokenId]
  const refuse = (why: 'unknown' | 'used' | 'expired' | 'revoked' | 'site'): Outcome<Admission> =>
    failed({ code: 'TOKEN_REFUSED', why })

  if (token === undefined || token.secretHash !== command.secretHash) return refuse('unknown')
  // The same peer asking again had its answer lost: tell it again.
  const known = state.peers[peer]
  if (token.state === 'used' && token.usedBy === peer && known !== undefined) {
    return ok({ site: known.site, founder: isAlone(state, known), mesh: state.mesh })
  }
  if (token.state !== 'open') return refuse(token.state)
  // Its log of this mesh would be put aside, and may be the only one.
  if (known !== undefined) {
    return failed({
      code: 'ILLEGAL_STATE',
      vm: known.name,
      state: 'a peer of this mesh',
      wanted: 'joined again',
    })
  }
  if (command.nowMs > token.expiresMs) return refuse('expired')
  if (token.siteName !== '' && token.siteName !== siteName) return refuse('site')
  if (Object.keys(state.peers).length >= PEERS_MAX) return failed(tooMany('peers'))

  const site = siteNamed(state, siteName)
  if (site === undefined) {
    if (Object.keys(state.sites).length >= SITES_MAX) return failed(tooMany('sites'))
    if (state.sites[command.newSite] !== undefined) {
      return failed({ code: 'STALE', what: 'site id', expected: 'a new one', found: command.newSite })
    }
    state.sites[command.newSite] = { id: command.newSite, name: siteName, founder: peer }
  } else if (hasPeer(state, site.id, ({ id, name }) => name === peerName && id !== peer)) {
    return failed({ code: 'NAME_TAKEN', what: 'peer', name: `${siteName}/${peerName}` })
  } else if (!hasPeer(state, site.id) && state.removed?.[peer]?.site !== site.id) {
    // Its group's log is with the peers that it had; a second one under its name would be another site's.
    return failed({
      code: 'ILLEGAL_STATE',
      vm: `site ${siteName}`,
      state: 'without peers',
      wanted: 'joined but by one that was removed from it',
    })
  }
  const siteOfPeer = site?.id ?? command.newSite
  token.state = 'used'
  token.usedBy = peer
  if (state.removed !== undefined) delete state.removed[peer]
  const admitted = { id: peer, name: peerName, site: siteOfPeer, addresses: command.addresses }
  state.peers[peer] = admitted
  return ok({ site: siteOfPeer, founder: isAlone(state, admitted), mesh: state.mesh })
}

/** The one peer of a site has its group's log, or begins it. */
const isAlone = (state: MeshState, { id, site }: { id: PeerId; site: string }): boolean =>
  !hasPeer(state, site, (each) => each.id !== id)

/** Whether a site has such a peer. Asked at every admission, by everybody: nothing is listed or sorted for it. */
function hasPeer(
  { peers }: MeshState,
  site: string,
  matches: (peer: MeshState['peers'][string]) => boolean = () => true,
): boolean {
  for (const id in peers) {
    const peer = peers[id]
    if (peer?.site === site && matches(peer)) return true
  }
  return false
}

function intend(state: MeshState, command: MeshCommand & { kind: 'move-intend' }): Outcome<undefined> {
  const { kind: _, ...move } = command
  const newest = state.moves[move.vm]
  if (newest?.m === move.m)
    return newest.state === 'intended' ? ok(undefined) : failed(cancelled(move.vm, newest))
  if (newest?.state === 'intended') return failed({ code: 'BUSY', vm: move.name, by: `move ${newest.m}` })
  const home = homeOf(state, move.vm)
  if (home.site !== move.from) {
    return failed({ code: 'STALE', what: `home of ${move.name}`, expected: move.from, found: home.site })
  }
  if (compareEpochs(move.epoch, home.epoch) < 0) {
    return failed({
      code: 'STALE',
      what: `epoch of ${move.name}`,
      expected: move.epoch.join('.'),
      found: home.epoch.join('.'),
    })
  }
  if (state.peers[move.host]?.site !== move.to) return failed({ code: 'NOT_ADMITTED', peer: move.host })
  const current = generationOf(state)
  state.moves[move.vm] = {
    ...move,
    state: 'intended',
    why: '',
    disks: [],
    ...(current > 0 && { generation: current }),
  }
  return ok(undefined)
}

/** Ok: m does not stand, and never will under that epoch. MOVE_TAKEN: it was first. */
function cancel(
  state: MeshState,
  { m, vm, epoch: under, why, begun, force = false }: MeshCommand & { kind: 'move-cancel' },
): Outcome<undefined> {
  const move = state.moves[vm]
  if (move?.m === m && move.state === 'taken')
    return failed({ code: 'MOVE_TAKEN', vm: move.name, by: move.host })
  // Only the newest move of a VM is kept. What an older one came to shows in the home.
  const home = homeOf(state, vm)
  if (move?.m !== m && compareHomes(home.epoch, under) > 0)
    return failed({ code: 'MOVE_TAKEN', vm, by: home.site })
  const known = move?.m === m ? move : undefined
  if (known?.state !== 'cancelled' && isUncertain(state, begun ?? 0, known?.host)) {
    if (force) {
      // Whatever a lost take gave is below it, so on contact that copy is the one that ends.
      state.homes[vm] = { site: home.site, epoch: nextHome(home.epoch, generationOf(state)), unsafe: true }
      if (known !== undefined) Object.assign(known, { state: 'cancelled', why, spec: '' })
      return ok(undefined)
    }
    return failed({ code: 'UNCERTAIN', vm: known?.name ?? vm, group: 'mesh', host: known?.host ?? '' })
  }
  if (move?.m === m && move.state === 'intended') Object.assign(move, { state: 'cancelled', why, spec: '' })
  return ok(undefined)
}

const unknownPeer = (peer: PeerId): Failure => ({ code: 'NOT_FOUND', what: 'peer', name: peer })
/**
 * The hand-over goes, spec and all. The home stays as the VM's tombstone: a former home that was out of sight since learns
 * from it that its copy is history, and who cancels an old move is told that it was taken.
 */
function forget(
  state: MeshState,
  { vm, epoch: under }: MeshCommand & { kind: 'vm-deleted' },
): Outcome<undefined> {
  const move = state.moves[vm]
  if (move === undefined) return ok(undefined)
  if (move.state === 'intended') return failed({ code: 'BUSY', vm: move.name, by: `move ${move.m}` })
  const home = homeOf(state, vm)
  if (compareHomes(under, home.epoch) < 0) {
    return failed({
      code: 'STALE',
      what: `home of ${move.name}`,
      expected: under.join('.'),
      found: home.epoch.join('.'),
    })
  }
  delete state.moves[vm]
  return ok(undefined)
}

const tooMany = (what: string): Failure => ({ code: 'RATE_LIMITED', what, retryAfterMs: 0 })

function cancelled(vm: VmId, move: MeshMove | undefined): Failure {
  return { code: 'MOVE_CANCELLED', vm: move?.name ?? vm, why: move?.why || 'it is over' }
}
