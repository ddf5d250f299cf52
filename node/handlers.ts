/**
 * Operations, one function each: who answers, and what is agreed on before the answer. Rows of operations.ts, and the
 * questions peers ask each other (`move.reserve`, `job.find`). What a handler throws on purpose is its answer.
 */
import { z } from 'zod'
import { type Failure, GodwitError } from '../protocols/errors.ts'
import { newUlid, type PeerId, short } from '../protocols/ids.ts'
import { NAME_LENGTH_MAX, PROPOSE_MS, SPEC_BYTES_MAX } from '../protocols/limits.ts'
import { type Done, failed, ok, type Outcome } from '../protocols/outcome.ts'
import type { GroupName } from './agreement.ts'
import type { Handler } from './asking.ts'
import { peersOfSite, refusesVms, siteNamed, specText } from './catalog/mesh.ts'
import { hostsForPlacement, requestOf, type SiteVm, specOf } from './catalog/site.ts'
import type { Context } from './context.ts'
import { groupHandlers, withCurrent } from './groups.ts'
import { publishHandlers } from './image-publish.ts'
import { imageHandlers } from './images.ts'
import { keepingHandlers } from './keeping/handlers.ts'
import { placeRoomy, roomParams } from './keeping/roomy.ts'
import { vouchParams } from './keeping/vouching.ts'
import { leavingHandlers } from './leaving.ts'
import { findPeer, findVm, type FoundVm, nameOfPeer } from './lookup.ts'
import type { ReserveParams } from './moving/reservations.ts'
import { type Method, OPERATIONS, type Params } from './operations.ts'
import { type Host, place } from './placement/place.ts'
import { showJobs, showPeer, showPeers, showSites, showStatus, showVm, showVms } from './show.ts'
import { tokenHandlers } from './tokens.ts'
import type { JobView, VmView } from './views.ts'

/** How long `vm start` and `vm stop` wait for what they asked for before they answer with how it stands. */
const SETTLE_MS = 90_000
const LOOK_MS = 200
const LOGS_MS = 10_000

const reserveParams = z.strictObject({
  m: z.string().length(26),
  vm: z.string().max(64),
  name: z.string().min(1).max(NAME_LENGTH_MAX),
  spec: z.string().max(SPEC_BYTES_MAX),
  host: z.string().max(64).nullable(),
  epoch: z.tuple([z.int(), z.int(), z.int(), z.int()]),
  bytes: z.number().min(0),
})

const peerParams = z.strictObject({ name: z.string().min(1).max(64) })
const imageParams = z.strictObject({ name: z.string().min(1).max(256) })
const groupParams = z.strictObject({ group: z.string().min(1).max(96) })

/** Questions that no operator asks. */
const BETWEEN_PEERS: Readonly<Record<string, z.ZodType>> = {
  'move.reserve': reserveParams,
  'image.find': imageParams,
  'image.room': roomParams,
  'image.vouch': vouchParams,
  'raft.read': groupParams,
  'peer.votes': peerParams,
  'peer.lives': peerParams,
}

/** What another peer asks is checked here as what a person asks is at the socket. @throws GodwitError */
export function checkParams(method: string, params: unknown): unknown {
  const own = Object.hasOwn(OPERATIONS, method) ? OPERATIONS[method as Method].params : undefined
  const schema = Object.hasOwn(BETWEEN_PEERS, method) ? BETWEEN_PEERS[method] : own
  if (schema === undefined) throw new GodwitError({ code: 'UNSUPPORTED', what: method.slice(0, 64) })
  const checked = schema.safeParse(params)
  if (checked.success) {
    if (method === 'move.reserve') specText((checked.data as ReserveParams).spec, 'move.reserve.spec')
    return checked.data
  }
  const path = checked.error.issues[0]?.path.join('.') ?? ''
  throw new GodwitError({
    code: 'FRAME_INVALID',
    at: `${method}.${path}`.slice(0, 200),
    expected: 'as its schema says',
  })
}

/** Handlers see the context lazily: it is complete only after they are made. */
export function handlers(context: () => Context, ready: () => boolean): Record<string, Handler> {
  const read =
    <T>(show: (context: Context) => T): Handler =>
    (_params, done) =>
      done(ok(show(context())))
  const all: Record<string, Handler> = {
    status: read((all) => showStatus(all, ready())),
    'peer.list': read(showPeers),
    'peer.show': ({ name }: { name: string }, done) =>
      done(ok(showPeer(context(), must(findPeer(context(), name)).id))),
    'site.list': read(showSites),
    'job.list': read(showJobs),
    'job.show': ({ name }: { name: string }, done, hops) =>
      findJob(context(), { name, method: 'job.show', rest: {} }, done, hops),
    'job.cancel': ({ name, force }: Params<'job.cancel'>, done, hops) =>
      findJob(context(), { name, method: 'job.cancel', rest: force ? { force } : {} }, done, hops),
    ...vmHandlers(context),
    ...imageHandlers(context),
    ...keepingHandlers(context),
    ...publishHandlers(context),
    ...tokenHandlers(context),
    ...groupHandlers(context),
    ...leavingHandlers(context),
  }
  const again = Object.entries(LOOKS_UP).map(([method, groups]) => {
    const handler = all[method] as Handler
    return [method, lookingTwice(context, groups, handler)] as const
  })
  return { ...all, ...Object.fromEntries(again) }
}

/** Whose first step is to find what is named, and the groups whose copies it looks in. */
const LOOKS_UP: Partial<Record<Method, readonly GroupName[]>> = {
  'vm.show': ['site'],
  'vm.start': ['site'],
  'vm.stop': ['site'],
  'vm.delete': ['site'],
  'vm.move': ['mesh', 'site'],
  'vm.logs': ['site'],
  'peer.show': ['mesh'],
}

/**
 * What was made a moment ago, with this peer's own help or another's, may not be in its copies yet: before something is
 * said not to be there, it is looked for in what the leader has.
 */
function lookingTwice(context: () => Context, groups: readonly GroupName[], handler: Handler): Handler {
  return (params, done, hops) => {
    try {
      handler(params, done, hops)
    } catch (error) {
      if (!(error instanceof GodwitError) || error.failure.code !== 'NOT_FOUND') throw error
      withCurrent(context(), groups, () => {
        try {
          handler(params, done, hops)
        } catch (last) {
          if (!(last instanceof GodwitError)) throw last
          done(failed(last.failure))
        }
      })
    }
  }
}

/** A failed lookup is the answer. */
function must<T>(outcome: Outcome<T>): T {
  if (outcome.ok) return outcome.value
  throw new GodwitError(outcome.failure)
}

const refuse = (failure: Failure): never => {
  throw new GodwitError(failure)
}

function vmHandlers(context: () => Context): Record<string, unknown> {
  const settling: Settling = new Map()
  return {
    'vm.list': (_: unknown, done: Done<unknown>) => done(ok(showVms(context()))),
    'vm.plan': (_: unknown, done: Done<unknown>) =>
      done(
        ok(
          context()
            .vms.planned()
            .map(({ name, operation }) => ({ vm: name, operation: operation.kind, why: operation.why })),
        ),
      ),
    'vm.show': ({ name }: Params<'vm.show'>, done: Done<unknown>, hops: number) =>
      atSite(context(), name, 'vm.show', {}, done, hops, (vm) =>
        done(ok({ vm: showVm(context(), vm), spec: specOf(vm) })),
      ),
    'vm.create': (params: Params<'vm.create'>, done: Done<unknown>, hops: number) =>
      atLeader(context(), 'vm.create', params, done, hops, () => createVm(context(), params, done)),
    'vm.start': ({ name }: Params<'vm.start'>, done: Done<unknown>, hops: number) =>
      atHost(context(), name, 'vm.start', {}, done, hops, (vm) =>
        want(context(), vm, { wanted: 'running', kill: false }, settling, done),
      ),
    'vm.stop': ({ name, kill }: Params<'vm.stop'>, done: Done<unknown>, hops: number) =>
      atHost(context(), name, 'vm.stop', { kill }, done, hops, (vm) =>
        want(context(), vm, { wanted: 'stopped', kill }, settling, done),
      ),
    'vm.delete': ({ name }: Params<'vm.delete'>, done: Done<unknown>, hops: number) =>
      atSite(context(), name, 'vm.delete', {}, done, hops, (vm) =>
        context().agreement.proposeSite({ kind: 'vm-delete', vm: vm.id }, (outcome) =>
          done(outcome.ok ? ok({ id: vm.id }) : outcome),
        ),
      ),
    'vm.logs': ({ name, lines }: Params<'vm.logs'>, done: Done<unknown>, hops: number) =>
      atHost(
        context(),
        name,
        'vm.logs',
        { lines },
        done,
        hops,
        (vm) =>
          context().ports.hypervisor.serialLog(vm.id, lines, (outcome) =>
            done(outcome.ok ? ok({ lines: outcome.value }) : outcome),
          ),
        LOGS_MS,
      ),
    'vm.move': ({ name, to, mode }: Params<'vm.move'>, done: Done<unknown>, hops: number) =>
      atHost(context(), name, 'vm.move', { to, mode }, done, hops, (vm) =>
        moveVm(context(), vm, to, settling, done),
      ),
    'move.reserve': (params: ReserveParams, done: Done<unknown>, hops: number) =>
      atLeader(context(), 'move.reserve', params, done, hops, () =>
        context().moves.reservations.reserve(params, done),
      ),
  }
}

/** Runs `here` when the VM is of the own site; else asks a peer of its site by the VM's id. */
function atSite(
  context: Context,
  typed: string,
  method: string,
  rest: object,
  done: Done<unknown>,
  hops: number,
  here: (vm: SiteVm) => void,
): void {
  const found = must(findVm(context, typed))
  const vm = context.agreement.site.state.vms[found.id]
  if (vm !== undefined) return here(vm)
  askSite(context, found, method, { ...rest, name: found.id }, done, hops)
}

/** Runs `here` on the VM's host; when that one does not answer, on this peer. */
function atHost(
  context: Context,
  typed: string,
  method: string,
  rest: object,
  done: Done<unknown>,
  hops: number,
  here: (vm: SiteVm) => void,
  timeoutMs = SETTLE_MS + 5_000,
): void {
  const { asking, config, ports } = context
  atSite(context, typed, method, rest, done, hops, (vm) => {
    if (vm.host === config.identity.peer) return here(vm)
    if (!ports.transport.connected().includes(vm.host)) {
      if (method === 'vm.start' || method === 'vm.stop') return here(vm)
      refuse({ code: 'PEER_UNREACHABLE', peer: nameOfPeer(context, vm.host), afterMs: 0 })
    }
    asking.there(vm.host, method, { ...rest, name: vm.id }, done, hops, timeoutMs)
  })
}

function askSite(
  context: Context,
  found: FoundVm,
  method: string,
  params: object,
  done: Done<unknown>,
  hops: number,
): void {
  const { agreement, asking, ports } = context
  const connected = new Set(ports.transport.connected())
  const peers = [found.host, ...peersOfSite(agreement.mesh.state, found.siteId)]
  const peer = peers.find((id) => connected.has(id)) ?? found.host
  asking.there(peer, method, params, done, hops, SETTLE_MS + 5_000)
}

/** Runs `here` when this peer leads its site's group; else asks the leader. */
function atLeader(
  { agreement, asking, ports }: Context,
  method: string,
  params: object,
  done: Done<unknown>,
  hops: number,
  here: () => void,
): void {
  const { role, leader } = agreement.site
  if (role === 'leader') return here()
  if (leader === '') return done(failed({ code: 'NO_LEADER', group: agreement.siteGroup, afterMs: 0 }))
  const begunMs = ports.clock.nowMs()
  asking.there(
    leader,
    method,
    params,
    (outcome) => {
      // A leader that does not answer leads nobody, for whoever asks.
      const gone = !outcome.ok && outcome.failure.code === 'PEER_UNREACHABLE'
      if (!gone) return done(outcome)
      const afterMs = Math.round(ports.clock.nowMs() - begunMs)
      done(failed({ code: 'NO_LEADER', group: agreement.siteGroup, afterMs }))
    },
    hops,
    PROPOSE_MS,
  )
}

/** At the site's leader: the decision, host included, is what enters the log. */
function createVm(context: Context, params: Params<'vm.create'>, done: Done<unknown>): void {
  const { agreement, config, ports } = context
  const { site } = agreement
  const { spec } = params
  // Accepted by the schema, which stays; not acted on yet, so it is not promised either.
  if (spec.failover === 'automatic') refuse({ code: 'UNSUPPORTED', what: 'automatic failover' })
  const disks = spec.disks.map(({ image }) => {
    const named =
      site.state.images[image] ?? Object.values(site.state.images).find((each) => each.image === image)
    return named ?? refuse({ code: 'NOT_FOUND', what: 'image', name: image })
  })
  for (const [index, disk] of disks.entries()) {
    const sizeMiB = spec.disks[index]?.sizeMiB
    if (sizeMiB !== undefined && sizeMiB * 1024 ** 2 < disk.bytes) {
      refuse({ code: 'USAGE', why: `disk ${index}: ${sizeMiB} MiB is less than image ${disk.name} holds` })
    }
  }
  const dependency = spec.dependsOn.find(
    (name) => !Object.values(site.state.vms).some((vm) => vm.name === name),
  )
  if (dependency !== undefined) refuse({ code: 'NOT_FOUND', what: 'vm', name: dependency })
  const text = JSON.stringify(spec)
  const sized = disks.map(({ image, bytes }) => ({ image, bytes }))
  const images = disks.map(({ image, dataBytes }) => ({ image, dataBytes }))
  const request = requestOf({ name: spec.name, spec: text, disks: sized })
  placeRoomy(context, request, hostsInSight(context), { what: `vm ${spec.name}`, images }, (placed) => {
    if (!placed.ok)
      return done(failed({ code: 'NO_HOST', vm: spec.name, reasons: placed.reasons.slice(0, 64) }))
    const vm = `${config.identity.site}-${newUlid(ports.clock.wallMs(), ports.dice)}`
    const told = { id: vm, name: spec.name, host: nameOfPeer(context, placed.host), epoch: '1.1' }
    if (params.dryRun) return done(ok(told))
    const wanted = params.start ? 'running' : 'stopped'
    agreement.proposeSite(
      { kind: 'vm-create', vm, name: spec.name, spec: text, disks: sized, host: placed.host, wanted },
      (outcome) => done(outcome.ok ? ok(told) : outcome),
    )
  })
}

/** Hosts of this site as a leader may use them now: who is out of sight takes nothing. */
const hostsInSight = (context: Context): Host[] =>
  hostsForPlacement(context.agreement.site.state).map((host) => ({ ...host, ...inSight(context, host.id) }))

function inSight(
  { agreement, config, observation }: Context,
  host: PeerId,
): { available: boolean; why: string } {
  const refuses = refusesVms(agreement.mesh.state, host)
  if (refuses !== '') return { available: false, why: refuses }
  if (host === config.identity.peer) return { available: true, why: '' }
  const state = observation.peerState(host)
  const available = state === 'alive' || state === 'suspect'
  return { available, why: available ? '' : `is ${state}` }
}

/** VMs of this host whose start or stop is being waited for, by that command's own mark: a move is told to wait. */
type Settling = Map<string, { readonly command: string }>

/** Agrees on what is wanted, then waits until it is so, has failed, or time is up. */
function want(
  context: Context,
  vm: SiteVm,
  { wanted, kill }: { wanted: 'running' | 'stopped'; kill: boolean },
  settling: Settling,
  answer: Done<VmView>,
): void {
  const { agreement, moves, ports, vms, config } = context
  const move = moves.inHand(vm.id)
  const cancelling = moves.cancelling(vm.id)
  if (move !== cancelling) refuse({ code: 'BUSY', vm: vm.name, by: `move ${move}` })
  const mark = { command: wanted === 'running' ? 'vm start' : 'vm stop' }
  settling.set(vm.id, mark)
  const done: Done<VmView> = (outcome) => {
    if (settling.get(vm.id) === mark) settling.delete(vm.id)
    answer(outcome)
  }
  const here = vm.host === config.identity.peer
  const command = { kind: 'vm-want', vm: vm.id, wanted, kill, ...(cancelling && { cancelling }) } as const
  agreement.proposeSite(command, (outcome) => {
    if (!outcome.ok) return done(outcome)
    vms.asked(vm.id)
    const endMs = ports.clock.nowMs() + SETTLE_MS
    // The answer may come from the leader before its entry is here: what this peer's copy says counts from then on.
    let heard = false
    const look = (): void => {
      const agreed = agreement.site.state.vms[vm.id]
      heard ||= agreed === undefined || agreed.wanted === wanted
      if (agreed === undefined) return done(failed({ code: 'NOT_FOUND', what: 'vm', name: vm.name }))
      const view = showVm(context, agreed)
      // Under the mark of a move that is being cancelled a guest that is off shows as moving.
      const isOff =
        cancelling !== undefined && wanted === 'stopped' && view.state === 'moving' && !vms.runs(vm.id)
      if (heard && (view.state === wanted || isOff || !here)) return done(ok(view))
      if (heard && agreed.wanted !== wanted)
        return done(
          failed({ code: 'BUSY', vm: vm.name, by: `a later command: it is wanted ${agreed.wanted}` }),
        )
      if (heard && view.state === 'failed')
        return done(failed({ code: 'HYPERVISOR', vm: vm.name, why: view.why }))
      if (ports.clock.nowMs() > endMs)
        return done(failed({ code: 'TIMEOUT', what: `${vm.name} ${wanted}`, afterMs: SETTLE_MS }))
      ports.clock.after(LOOK_MS, look)
    }
    look()
  })
}

/** On the VM's host: `to` is a peer, a site, or auto. */
function moveVm(
  context: Context,
  vm: SiteVm,
  to: string,
  settling: Settling,
  done: Done<{ job: string }>,
): void {
  const { agreement, config, moves, ports } = context
  const move = vm.move?.m ?? moves.inHand(vm.id)
  const by = move === undefined ? settling.get(vm.id)?.command : `move ${move}`
  if (by !== undefined) refuse({ code: 'BUSY', vm: vm.name, by })
  const m = newUlid(ports.clock.wallMs(), ports.dice)
  const site = siteNamed(agreement.mesh.state, to)
  const begin = (siteId: string, host: PeerId | undefined): void => {
    moves.begin(m, vm, siteId, host)
    done(ok({ job: m }))
  }
  if (site !== undefined && site.id !== config.identity.site) return begin(site.id, undefined)
  const peer = site === undefined && to !== 'auto' ? must(findPeer(context, to)) : undefined
  if (peer !== undefined) {
    const why = refusesVms(agreement.mesh.state, peer.id)
    if (why !== '') return done(failed({ code: 'MOVE_REFUSED', vm: vm.name, why: `${peer.name} ${why}` }))
    return begin(peer.siteId, peer.id)
  }
  const hosts = hostsInSight(context).filter(({ id }) => id !== vm.host)
  const placed = place(requestOf(vm), hosts)
  if (!placed.ok) return done(failed({ code: 'NO_HOST', vm: vm.name, reasons: placed.reasons.slice(0, 64) }))
  begin(config.identity.site, placed.host)
}

/** A job here, or one that a peer of this or another site has: they are asked in turn, nearest first. */
function findJob(
  context: Context,
  {
    name,
    method,
    rest,
  }: {
    readonly name: string
    readonly method: 'job.show' | 'job.cancel'
    readonly rest: { readonly force?: boolean }
  },
  done: Done<JobView>,
  hops: number,
): void {
  const { agreement, asking, config, jobs, ports } = context
  const own = jobs
    .list()
    .filter(({ id }) => id === name || (name.length >= 4 && (id.startsWith(name) || id.endsWith(name))))
  if (own.length > 1)
    refuse({ code: 'AMBIGUOUS', what: 'job', name, choices: own.slice(0, 8).map(({ id }) => short(id)) })
  const [job] = own
  if (job !== undefined) {
    const forced = rest.force === true && context.moves.force(job.id)
    if (forced) {
      const text = 'cancelled by force: an operator says that its destination never runs again'
      ports.journal.append({ atMs: ports.clock.wallMs(), kind: 'unsafe', subject: job.id, text })
    }
    if (method === 'job.cancel' && !forced && !jobs.cancel(job.id)) {
      refuse({ code: 'ILLEGAL_STATE', vm: `job ${short(job.id)}`, state: job.state, wanted: 'cancelled' })
    }
    return done(ok(job))
  }
  if (hops > 0) refuse({ code: 'NOT_FOUND', what: 'job', name })
  const near = new Set(peersOfSite(agreement.mesh.state, config.identity.site))
  const peers = ports.transport.connected().toSorted((a, b) => Number(near.has(b)) - Number(near.has(a)))
  const ask = (index: number): void => {
    const peer = peers[index]
    if (peer === undefined) return done(failed({ code: 'NOT_FOUND', what: 'job', name }))
    asking.there(peer, method, { name, ...rest }, (outcome) =>
      outcome.ok ? done(outcome as Outcome<JobView>) : ask(index + 1),
    )
  }
  ask(0)
}
