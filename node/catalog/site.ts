/**
 * What a site group agrees on: its hosts' capacity, its VMs' specs, wanted state and placement, names of images, and
 * room reserved for VMs that are on their way here (DESIGN section 3). `applySite` is total and deterministic.
 *
 * A VM under a move m:  placed ─vm-move─▶ moving m ─vm-take─▶ placed on the other host      (inside the site)
 *                                           ├──────vm-left──▶ gone: the mesh log says taken  (to another site)
 *                                           └─vm-move-cancel▶ placed as before
 * While `move` is set the VM is granted to nobody else, and no other command takes it.
 */
import { codec } from '../../protocols/codec.ts'
import {
  compareEpochs,
  epoch,
  type Epoch,
  firstEpoch,
  nextHome,
  nextPlacement,
} from '../../protocols/epoch.ts'
import type { Failure } from '../../protocols/errors.ts'
import { FORCED_CANCELS, SITE_COPIES, STOPS_WHILE_CANCELLING } from '../../protocols/features.ts'
import { imageId, name, type PeerId, peerId, siteId, ulid, vmId } from '../../protocols/ids.ts'
import {
  COMMAND_BYTES_MAX,
  IMAGE_BYTES_MAX,
  SITE_PEERS_MAX,
  SITE_VMS_MAX,
  STATE_BYTES_MAX,
  TOMBSTONES_MAX,
} from '../../protocols/limits.ts'
import { failed, ok, type Outcome } from '../../protocols/outcome.ts'
import {
  boolean,
  dictionary,
  integer,
  list,
  type Of,
  oneOf,
  optional,
  record,
  since,
  tagged,
  text,
} from '../../protocols/shape.ts'
import { COPIES } from '../../protocols/roles/copies.ts'
import { disks, specText as spec } from './mesh.ts'
import { generation, generationOf, heard, isUncertain, isUnheard, recovery } from './recovery.ts'
import { type Host, place, type PlaceRequest } from '../placement/place.ts'
import type { VmSpec } from '../vm/spec.ts'

const wanted = oneOf('running', 'stopped')

const hostShape = record({
  id: peerId,
  name,
  cpus: integer(0, 65_536),
  memoryMiB: integer(0, 2 ** 30),
  diskBytes: integer(0, 2 ** 52),
  driver: text(16),
  labels: dictionary(text(63, 0), 32),
})

const commandShape = tagged({
  /** A host commits its capacity. Placement never goes above it. */
  'host-commit': hostShape,
  'image-name': record({
    name,
    image: imageId,
    bytes: integer(0, IMAGE_BYTES_MAX),
    dataBytes: integer(0, IMAGE_BYTES_MAX),
  }),
  /** The decision, host included; the question never enters the log. */
  'vm-create': record({ vm: vmId, name, spec, disks, host: peerId, wanted }),
  'vm-want': record({
    vm: vmId,
    wanted,
    kill: boolean,
    /** The move that its source has in hand to cancel: that stops nobody. Was it taken before, the VM left with what was wanted. */
    cancelling: since(STOPS_WHILE_CANCELLING, optional(ulid)),
  }),
  'vm-delete': record({ vm: vmId }),
  /** The holder's word that guest, disks and grant are gone. */
  'vm-gone': record({ vm: vmId, epoch }),
  /** `epoch` and `wanted` as the move began with: what was changed meanwhile is not carried away by it. */
  'vm-move': record({ m: ulid, vm: vmId, to: siteId, host: peerId, epoch, wanted }),
  'vm-take': record({ m: ulid, vm: vmId, host: peerId, disks }),
  'vm-move-cancel': record({
    m: ulid,
    vm: vmId,
    epoch,
    why: text(300),
    begun: optional(generation),
    /** As of the mesh's `move-cancel`. */
    force: since(FORCED_CANCELS, optional(boolean)),
  }),
  /** The mesh's log has given the VM's home another epoch, by force: the VM stays, and goes on under it. */
  'vm-raise': since(FORCED_CANCELS, record({ vm: vmId, epoch })),
  'vm-left': record({ m: ulid, vm: vmId }),
  reserve: record({ m: ulid, vm: vmId, name, spec, host: peerId, epoch }),
  unreserve: record({ m: ulid, vm: vmId }),
  'vm-adopt': record({ m: ulid, vm: vmId, name, spec, disks, host: peerId, epoch, wanted }),
  /** A peer that was removed takes no VMs; those that it has stay where they are. */
  'host-leave': record({ host: peerId }),
  /** After a recovery: a grant that its host holds and this log may have lost (recovery.ts). */
  'present-grant': record({
    generation,
    vm: vmId,
    name,
    spec,
    disks,
    host: peerId,
    epoch,
    wanted,
    deleting: boolean,
  }),
  presented: record({ host: peerId, generation }),
  /** Who keeps a copy of this log outside the site (protocols/roles/copies.ts). */
  copies: since(SITE_COPIES, record({ peers: list(peerId, COPIES) })),
})

export type SiteCommand = Of<typeof commandShape>
export const siteCommand = codec('site command', commandShape, COMMAND_BYTES_MAX)

const moveShape = record({ m: ulid, to: siteId, host: peerId })
const vmShape = record({
  id: vmId,
  name,
  spec,
  disks,
  wanted,
  /** The next stop need not be gentle. */
  kill: boolean,
  host: peerId,
  epoch,
  deleting: boolean,
  move: optional(moveShape),
  /** The newest move that ended here without the VM leaving: who repeats an old command is told. */
  ended: optional(
    record({ m: ulid, how: oneOf('taken', 'cancelled'), why: text(300, 0), unsafe: optional(boolean) }),
  ),
})
const reservationShape = record({ m: ulid, vm: vmId, name, spec, host: peerId, epoch })
const imageShape = record({
  name,
  image: imageId,
  bytes: integer(0, IMAGE_BYTES_MAX),
  dataBytes: integer(0, IMAGE_BYTES_MAX),
})

const stateShape = record({
  hosts: dictionary(hostShape, SITE_PEERS_MAX),
  vms: dictionary(vmShape, SITE_VMS_MAX),
  images: dictionary(imageShape, 65_536),
  reservations: dictionary(reservationShape, SITE_VMS_MAX),
  recovery,
  /** VMs that were deleted here, oldest first: none of them comes back. */
  tombstones: optional(list(record({ vm: vmId, epoch }), TOMBSTONES_MAX)),
  /** Peers of other sites that follow this log; they have no part in it. */
  copies: optional(list(peerId, COPIES)),
})

export type SiteVm = Of<typeof vmShape>
export type SiteImage = Of<typeof imageShape>
export type SiteState = Of<typeof stateShape>
export const siteState = codec('site state', stateShape, STATE_BYTES_MAX)

export const emptySite = (): SiteState => ({ hosts: {}, vms: {}, images: {}, reservations: {} })

/** Specs enter the log as checked JSON; what was agreed on is not questioned again. */
export const specOf = (vm: { readonly spec: string }): VmSpec => JSON.parse(vm.spec) as VmSpec

/** Carries one command out; the value is the VM's epoch where one was given. */
export function applySite(state: SiteState, command: SiteCommand): Outcome<Epoch | undefined> {
  switch (command.kind) {
    case 'host-commit': {
      const { kind: _, ...host } = command
      if (state.hosts[host.id] === undefined && Object.keys(state.hosts).length >= SITE_PEERS_MAX) {
        return failed({ code: 'RATE_LIMITED', what: 'hosts of one site', retryAfterMs: 0 })
      }
      state.hosts[host.id] = host
      return ok(undefined)
    }
    case 'image-name': {
      const { kind: _, ...image } = command
      const known = state.images[image.name]
      if (known !== undefined && known.image !== image.image) {
        return failed({ code: 'NAME_TAKEN', what: 'image', name: image.name })
      }
      state.images[image.name] = image
      return ok(undefined)
    }
    case 'vm-create':
      return create(state, command)
    case 'reserve':
      return reserve(state, command)
    case 'unreserve':
      if (state.reservations[command.vm]?.m === command.m) delete state.reservations[command.vm]
      return ok(undefined)
    case 'vm-adopt':
      return adopt(state, command)
    case 'host-leave':
      delete state.hosts[command.host]
      // It keeps its grants: what it has not said, it has still to say.
      return ok(undefined)
    case 'present-grant':
      return present(state, command)
    case 'presented':
      heard(state, command.host, command.generation)
      return ok(undefined)
    case 'copies':
      state.copies = command.peers
      return ok(undefined)
    default:
      return change(state, command)
  }
}

/** Commands on a VM that is here. */
function change(state: SiteState, command: ChangeCommand): Outcome<Epoch | undefined> {
  const vm = state.vms[command.vm]
  // Said again after it was done: nothing is left to do.
  const repeated =
    command.kind === 'vm-gone' ||
    command.kind === 'vm-left' ||
    command.kind === 'vm-move-cancel' ||
    command.kind === 'vm-raise'
  if (vm === undefined && repeated) return ok(undefined)
  if (vm === undefined) return failed({ code: 'NOT_FOUND', what: 'vm', name: command.vm })

  switch (command.kind) {
    case 'vm-want':
      if (vm.deleting)
        return failed({ code: 'ILLEGAL_STATE', vm: vm.name, state: 'being deleted', wanted: command.wanted })
      if (vm.move !== undefined && vm.move.m !== command.cancelling) return failed(busy(vm))
      vm.wanted = command.wanted
      vm.kill = command.kill
      return ok(vm.epoch)

    case 'vm-delete':
      if (vm.move !== undefined) return failed(busy(vm))
      vm.deleting = true
      vm.wanted = 'stopped'
      return ok(vm.epoch)

    case 'vm-gone':
      if (!vm.deleting || !same(vm.epoch, command.epoch)) {
        return failed({
          code: 'STALE',
          what: `epoch of ${vm.name}`,
          expected: command.epoch.join('.'),
          found: vm.epoch.join('.'),
        })
      }
      delete state.vms[vm.id]
      state.tombstones = [...(state.tombstones ?? []), { vm: vm.id, epoch: vm.epoch }].slice(-TOMBSTONES_MAX)
      return ok(undefined)

    case 'vm-move':
      return startMove(state, vm, command)

    case 'vm-take':
      if (vm.ended?.m === command.m && vm.ended.how === 'taken' && vm.host === command.host)
        return ok(vm.epoch)
      if (vm.move?.m !== command.m || vm.move.host !== command.host) return failed(notMoving(vm, command.m))
      vm.host = command.host
      vm.epoch = nextPlacement(vm.epoch, generationOf(state))
      vm.disks = command.disks
      endMove(vm, 'taken', '')
      return ok(vm.epoch)

    case 'vm-move-cancel':
      // Ok: m does not stand here, and never will under that epoch. MOVE_TAKEN: it was first.
      if (vm.ended?.m === command.m && vm.ended.how === 'taken') return failed(takenBy(vm))
      if (vm.move?.m !== command.m && compareEpochs(vm.epoch, command.epoch) > 0) return failed(takenBy(vm))
      if (vm.ended?.m !== command.m && uncertain(state, vm, command)) {
        if (command.force === true) return forceHere(state, vm, command)
        return failed({ code: 'UNCERTAIN', vm: vm.name, group: 'site', host: vm.move?.host ?? '' })
      }
      if (vm.move?.m === command.m) endMove(vm, 'cancelled', command.why)
      return ok(vm.epoch)

    case 'vm-raise':
      if (compareEpochs(command.epoch, vm.epoch) <= 0) return ok(vm.epoch)
      vm.epoch = command.epoch
      endMove(vm, 'cancelled', 'by force')
      return ok(vm.epoch)

    case 'vm-left':
      if (vm.move?.m !== command.m) return failed(notMoving(vm, command.m))
      delete state.vms[vm.id]
      return ok(undefined)
  }
}

type ChangeCommand = Extract<
  SiteCommand,
  {
    kind:
      | 'vm-want'
      | 'vm-delete'
      | 'vm-gone'
      | 'vm-move'
      | 'vm-take'
      | 'vm-move-cancel'
      | 'vm-raise'
      | 'vm-left'
  }
>

function create(state: SiteState, command: SiteCommand & { kind: 'vm-create' }): Outcome<Epoch> {
  const { kind: _, vm, host, ...rest } = command
  if (state.vms[vm] !== undefined) return ok(state.vms[vm].epoch)
  if (tombstoneOf(state, vm) !== undefined)
    return failed({ code: 'STALE', what: `id of ${rest.name}`, expected: 'a new one', found: 'one deleted' })
  const refused =
    nameTaken(state, vm, rest.name) ?? full(state) ?? noRoom(state, host, { ...rest, vm: rest.name })
  if (refused !== undefined) return failed(refused)
  const first = firstEpoch(generationOf(state))
  state.vms[vm] = { id: vm, ...rest, kill: false, host, epoch: first, deleting: false }
  return ok(first)
}

function reserve(state: SiteState, command: SiteCommand & { kind: 'reserve' }): Outcome<Epoch> {
  const { kind: _, ...reservation } = command
  const known = state.reservations[reservation.vm]
  if (known?.m === reservation.m && known.host === reservation.host) return ok(nextHome(known.epoch))
  // A newer move of the VM takes the place of what an older one left behind.
  const others = { ...state, reservations: { ...state.reservations } }
  delete others.reservations[reservation.vm]
  const refused =
    nameTaken(others, reservation.vm, reservation.name) ??
    full(others) ??
    noRoom(others, reservation.host, { ...reservation, vm: reservation.name, disks: [] })
  if (refused !== undefined) return failed(refused)
  state.reservations[reservation.vm] = reservation
  return ok(nextHome(reservation.epoch))
}

/** The mesh log has named a host of this site: what is left is to write it down. Room was reserved before. */
function adopt(state: SiteState, command: SiteCommand & { kind: 'vm-adopt' }): Outcome<Epoch> {
  const { kind: _, m, vm, ...rest } = command
  if (state.reservations[vm]?.m === m) delete state.reservations[vm]
  const known = state.vms[vm] ?? tombstoneOf(state, vm)
  // What it was when it lived here before is history, even when the log never heard that it had left.
  if (known !== undefined && compareEpochs(known.epoch, rest.epoch) >= 0) return ok(known.epoch)
  state.vms[vm] = { id: vm, ...rest, kill: false, deleting: false }
  return ok(rest.epoch)
}

/** A host of a recovered group shows what it holds: the highest epoch wins, and a VM that was lost is back. */
function present(state: SiteState, command: SiteCommand & { kind: 'present-grant' }): Outcome<Epoch> {
  const { kind: _, generation: said, vm, ...rest } = command
  const known = state.vms[vm]
  if (said !== generationOf(state)) return ok(known?.epoch ?? rest.epoch)
  // Said before its holder gave it up, and applied after.
  const gone = tombstoneOf(state, vm)
  if (gone !== undefined && compareEpochs(gone.epoch, rest.epoch) >= 0) return ok(gone.epoch)
  if (known !== undefined && compareEpochs(known.epoch, rest.epoch) >= 0) return ok(known.epoch)
  // Room is not asked for: it is there already. Only a name can stand in its way, and then it gets another.
  const free =
    nameTaken(state, vm, rest.name) === undefined ? rest.name : `${rest.name.slice(0, 52)}-${suffix(vm)}`
  state.vms[vm] = {
    id: vm,
    ...rest,
    name: free,
    kill: false,
    deleting: rest.deleting || (known?.deleting ?? false),
  }
  return ok(rest.epoch)
}

/** Ten letters of a ULID that two VMs of one site do not share. */
const suffix = (vm: string): string => vm.slice(-10).toLowerCase()

/**
 * Whether the destination of a move may have taken it in a generation whose log is lost. A move to another site is the
 * mesh's to decide: its host is none of ours, and what the mark here says ends nothing.
 */
function uncertain(
  state: SiteState,
  vm: SiteVm,
  { m, begun }: SiteCommand & { kind: 'vm-move-cancel' },
): boolean {
  const marked = vm.move?.m === m ? vm.move : undefined
  if (marked !== undefined && state.hosts[marked.host] === undefined && !isUnheard(state, marked.host))
    return false
  return isUncertain(state, begun ?? 0, marked?.host)
}

/** Whatever a lost take gave is below the new epoch, so on contact that copy is the one that ends. */
function forceHere(
  state: SiteState,
  vm: SiteVm,
  { m, why }: SiteCommand & { kind: 'vm-move-cancel' },
): Outcome<Epoch> {
  vm.epoch = nextPlacement(vm.epoch, generationOf(state))
  delete vm.move
  vm.ended = { m, how: 'cancelled', why, unsafe: true }
  return ok(vm.epoch)
}

function startMove(state: SiteState, vm: SiteVm, command: SiteCommand & { kind: 'vm-move' }): Outcome<Epoch> {
  if (vm.move?.m === command.m) return ok(vm.epoch)
  if (vm.move !== undefined) return failed(busy(vm))
  if (vm.deleting)
    return failed({ code: 'ILLEGAL_STATE', vm: vm.name, state: 'being deleted', wanted: 'moved' })
  if (!same(vm.epoch, command.epoch)) {
    return failed({
      code: 'STALE',
      what: `epoch of ${vm.name}`,
      expected: command.epoch.join('.'),
      found: vm.epoch.join('.'),
    })
  }
  if (vm.wanted !== command.wanted) {
    return failed({
      code: 'STALE',
      what: `wanted state of ${vm.name}`,
      expected: command.wanted,
      found: vm.wanted,
    })
  }
  if (command.host === vm.host)
    return failed({ code: 'MOVE_REFUSED', vm: vm.name, why: 'it is there already' })
  // Inside the site the destination's room is taken by the move itself; elsewhere its group has reserved it.
  if (state.hosts[command.host] !== undefined) {
    const refused = noRoom(state, command.host, { vm: vm.name, spec: vm.spec, disks: vm.disks })
    if (refused !== undefined) return failed(refused)
  }
  vm.move = { m: command.m, to: command.to, host: command.host }
  return ok(vm.epoch)
}

/** Hosts as placement sees them: capacity, and all that is committed to each, moves and reservations included. */
export function hostsForPlacement(state: SiteState): Host[] {
  const hosts = Object.values(state.hosts).map((host) => ({
    id: host.id,
    name: host.name,
    capacity: {
      cpus: host.cpus,
      memoryMiB: host.memoryMiB,
      diskBytes: host.diskBytes,
      driver: host.driver,
      labels: host.labels,
    },
    committed: { cpus: 0, memoryMiB: 0, diskBytes: 0 },
    available: true,
    why: '',
  }))
  const byId = new Map(hosts.map((host) => [host.id, host]))
  const commit = (host: PeerId, request: PlaceRequest): void => {
    const committed = byId.get(host)?.committed
    if (committed === undefined) return
    committed.cpus += request.cpus
    committed.memoryMiB += request.memoryMiB
    committed.diskBytes += request.diskBytes
  }
  for (const vm of Object.values(state.vms)) {
    commit(vm.host, requestOf(vm))
    if (vm.move !== undefined) commit(vm.move.host, requestOf(vm))
  }
  for (const each of Object.values(state.reservations)) commit(each.host, requestOf({ ...each, disks: [] }))
  return hosts
}

/** What a VM asks of a host. */
export function requestOf(vm: { name?: string; spec: string; disks: SiteVm['disks'] }): PlaceRequest {
  const { name: vmName, cpus, memoryMiB, labels, disks: wantedDisks } = specOf(vm)
  const diskBytes = wantedDisks.reduce(
    (sum, { sizeMiB }, index) => sum + Math.max((sizeMiB ?? 0) * 1024 ** 2, vm.disks[index]?.bytes ?? 0),
    0,
  )
  return { vm: vm.name ?? vmName, cpus, memoryMiB, diskBytes, labels }
}

function noRoom(
  state: SiteState,
  host: PeerId,
  vm: { vm: string; spec: string; disks: SiteVm['disks'] },
): Failure | undefined {
  const hosts = hostsForPlacement(state).filter(({ id }) => id === host)
  const placed = place({ ...requestOf(vm), vm: vm.vm }, hosts)
  if (placed.ok) return undefined
  const reasons = hosts.length === 0 ? [{ host, why: 'has committed no capacity' }] : placed.reasons
  return { code: 'NO_HOST', vm: vm.vm, reasons }
}

function nameTaken(state: SiteState, vm: string, vmName: string): Failure | undefined {
  const taken = (other: { name: string; id?: string; vm?: string }): boolean =>
    other.name === vmName && (other.id ?? other.vm) !== vm
  return Object.values(state.vms).some(taken) || Object.values(state.reservations).some(taken)
    ? { code: 'NAME_TAKEN', what: 'vm', name: vmName }
    : undefined
}

const full = (state: SiteState): Failure | undefined =>
  Object.keys(state.vms).length + Object.keys(state.reservations).length >= SITE_VMS_MAX
    ? { code: 'RATE_LIMITED', what: 'VMs of one site', retryAfterMs: 0 }
    : undefined

const tombstoneOf = (state: SiteState, vm: string): { readonly epoch: Epoch } | undefined =>
  state.tombstones?.find((each) => each.vm === vm)

const same = (a: Epoch, b: Epoch): boolean => a.every((part, index) => part === b[index])
const takenBy = (vm: SiteVm): Failure => ({ code: 'MOVE_TAKEN', vm: vm.name, by: vm.host })
const busy = (vm: SiteVm): Failure => ({ code: 'BUSY', vm: vm.name, by: `move ${vm.move?.m ?? ''}` })
const notMoving = (vm: SiteVm, m: string): Failure => ({
  code: 'MOVE_CANCELLED',
  vm: vm.name,
  why:
    vm.ended?.m === m
      ? `it was ${vm.ended.how}${vm.ended.why && `: ${vm.ended.why}`}`
      : `it is not under move ${m}`,
})

function endMove(vm: SiteVm, how: 'taken' | 'cancelled', why: string): void {
  if (vm.move === undefined) return
  vm.ended = { m: vm.move.m, how, why }
  delete vm.move
}
