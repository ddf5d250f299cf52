/**
 * The Raft groups as an operator sees and steers them: `raft list`, `health`, `transfer`, `snapshot save`. A group is named
 * `mesh` or `site/NAME`; what only its leader knows is asked there, what only its members know is asked of one of them.
 */
import { type Failure, GodwitError } from '../protocols/errors.ts'
import { FEATURE_LEVEL } from '../protocols/features.ts'
import type { PeerId } from '../protocols/ids.ts'
import { PROPOSE_MS } from '../protocols/limits.ts'
import { type Done, failed, ok } from '../protocols/outcome.ts'
import { isVoter, membersOf, votersOf } from '../protocols/raft/configuration.ts'
import { firstIndex } from '../protocols/raft/genesis.ts'
import { type MemberId, peerOf } from '../protocols/raft/member.ts'
import { encodeSnapshotFile } from '../storage/snapshot-file.ts'
import type { GroupName } from './agreement.ts'
import { peersOfSite, siteNamed } from './catalog/mesh.ts'
import type { Context } from './context.ts'
import { MESH_GROUP } from './founding.ts'
import { findPeer, nameOfPeer } from './lookup.ts'
import type { Params } from './operations.ts'
import { showCopies, showGroups } from './show.ts'
import type { HealthView, SnapshotView, TransferView } from './views.ts'

/** A transfer takes a round trip to bring its heir up to date, and an election: etcd waits an election timeout, too. */
const TRANSFER_MS = 6_000
const LOOK_MS = 50
/** A peer that is this many entries behind is behind: fewer are under way at any moment. */
const BEHIND_ENTRIES = 64

export function groupHandlers(context: () => Context): Record<string, unknown> {
  return {
    'raft.list': (_: unknown, done: Done<unknown>) =>
      done(ok([...showGroups(context()), ...showCopies(context())])),
    'raft.health': ({ group }: Params<'raft.health'>, done: Done<unknown>, hops: number) =>
      atGroup(context(), group, { method: 'raft.health', params: {}, done, hops }, (which) =>
        health(context(), which, group, hops, done),
      ),
    'raft.transfer': (params: Params<'raft.transfer'>, done: Done<unknown>, hops: number) => {
      const { to, dryRun } = params
      const call = { method: 'raft.transfer', params: { to, dryRun }, done, hops }
      atGroup(context(), params.group, call, (which) =>
        atLeaderOf(context(), which, call, () => transfer(context(), which, to, dryRun, done)),
      )
    },
    'raft.snapshot.save': ({ group, path }: Params<'raft.snapshot.save'>, done: Done<unknown>) => {
      const which = ownGroup(context(), group)
      if (which === undefined) {
        return done(
          failed({ code: 'USAGE', why: `${group} is kept by the peers of its site: save it there` }),
        )
      }
      saveSnapshot(context(), which, path, done)
    },
    /** Between peers: a position of a group that holds all that was acknowledged before the question. */
    'raft.read': ({ group }: { group: string }, done: Done<unknown>, hops: number) => {
      const call = { method: 'raft.read', params: {}, done, hops }
      atGroup(context(), group, call, (which) =>
        atLeaderOf(context(), which, call, () => {
          const raft = context().agreement[which]
          raft.read((outcome) => done(outcome.ok ? ok({ index: raft.appliedIndex }) : outcome))
        }),
      )
    },
  }
}

type Call = {
  readonly method: string
  readonly params: object
  readonly done: Done<unknown>
  readonly hops: number
}

/** Which of this peer's two groups is meant; undefined for another site's. @throws GodwitError NOT_FOUND */
function ownGroup({ agreement }: Context, typed: string): GroupName | undefined {
  if (typed === MESH_GROUP) return 'mesh'
  if (typed === 'site' || typed === agreement.siteGroup) return 'site'
  const site = typed.startsWith('site/') ? siteNamed(agreement.mesh.state, typed.slice(5)) : undefined
  if (site !== undefined) return undefined
  throw new GodwitError({ code: 'NOT_FOUND', what: 'group', name: typed })
}

/** Runs `here` when this peer is of the group; else asks a peer that is. */
function atGroup(
  context: Context,
  typed: string,
  { method, params, done, hops }: Call,
  here: (which: GroupName) => void,
): void {
  const { agreement, asking, ports } = context
  const which = ownGroup(context, typed)
  if (which !== undefined) return here(which)
  const site = siteNamed(agreement.mesh.state, typed.slice(5))
  const connected = new Set(ports.transport.connected())
  const peer = peersOfSite(agreement.mesh.state, site?.id ?? '').find((id) => connected.has(id))
  if (peer === undefined) return done(failed({ code: 'PEER_UNREACHABLE', peer: typed, afterMs: 0 }))
  asking.there(peer, method, { ...params, group: typed }, done, hops, TRANSFER_MS + PROPOSE_MS)
}

function atLeaderOf(
  { agreement, asking }: Context,
  which: GroupName,
  { method, params, done, hops }: Call,
  here: () => void,
): void {
  const { leader, name, role } = agreement[which]
  if (role === 'leader') return here()
  const none: Failure = { code: 'NO_LEADER', group: name, afterMs: 0 }
  if (leader === '') return done(failed(none))
  asking.there(leader, method, { ...params, group: name }, done, hops, TRANSFER_MS + PROPOSE_MS)
}

/** As the leader sees its members; without one, as this peer does. */
function health(context: Context, which: GroupName, typed: string, hops: number, done: Done<unknown>): void {
  const { agreement, asking } = context
  const { leader, name, role } = agreement[which]
  const here = (): void => done(ok(healthOf(context, which)))
  const elsewhere = role !== 'leader' && leader !== '' && agreement.missing(which).length === 0
  if (!elsewhere || hops > 1) return here()
  // A leader that does not answer is no leader to ask.
  asking.there(
    leader,
    'raft.health',
    { group: typed === 'site' ? name : typed },
    (outcome) => (outcome.ok ? done(outcome) : here()),
    hops,
    PROPOSE_MS,
  )
}

function healthOf(context: Context, which: GroupName): HealthView[] {
  const { agreement, observation, ports, config } = context
  const group = agreement[which]
  const { configuration, progress, role, lastIndex } = group.status()
  const connected = new Set(ports.transport.connected())
  const { ageMs, stale } = agreement.freshness(which)
  const leads = role === 'leader'
  // A voter that hangs stays connected for a while: what refuses writes is said here as well.
  const missing = agreement.missing(which)
  const voters = new Set(votersOf(configuration))
  const ordered = membersOf(configuration).toSorted((a, b) => Number(voters.has(b)) - Number(voters.has(a)))
  const members = ordered.map((member): HealthView => {
    const peer = peerOf(member)
    const self = peer === config.identity.peer
    const seen = observation.peerState(peer)
    const reachable = self || (connected.has(peer) && seen !== 'unreachable' && seen !== 'lost')
    const known = progress.find((each) => each.peer === member)
    const match = self ? lastIndex : leads ? (known?.match ?? null) : null
    const level = leads ? (known?.level ?? 0) : self ? FEATURE_LEVEL : null
    // A member of which nothing is known yet in a log that does not begin at 1 needs a snapshot: there is no number for that.
    const isBlank = leads && match !== null && match < firstIndex(group.generation)
    const lag = leads && match !== null && !isBlank ? Math.max(0, lastIndex - match) : null
    // Who has not answered this leader yet has not said what it knows, either.
    const isUnheard = leads && !self && match === 0 && level === 0
    // Not by `recentActive`, which the core begins anew at every election timeout.
    const silent =
      !self && voters.has(member) && (leads ? agreement.isSilent(which, peer) : missing.includes(peer))
    return {
      group: group.name,
      peer: nameOfPeer(context, peer),
      peerId: peer,
      member,
      kind: kindOf(configuration, member),
      role: group.leader === '' ? 'unknown' : group.leader === peer ? 'leader' : 'follower',
      reachable,
      match,
      lag,
      lastContactMs: self ? 0 : roundedOrNull(agreement.heardMs(which, peer)),
      rttMs: self ? 0 : (ports.transport.rttMs(peer) ?? null),
      level,
      verdict: !reachable
        ? 'unreachable'
        : silent
          ? 'silent'
          : leads && !isUnheard && (level ?? 0) < group.level
            ? 'halted'
            : isBlank || isUnheard || (lag ?? 0) > BEHIND_ENTRIES
              ? 'behind'
              : 'well',
      ageMs: Math.round(ageMs),
      stale,
    }
  })
  const copies = which === 'site' ? (agreement.site.state.copies ?? []) : []
  return [...members, ...copies.map((peer) => healthOfCopy(context, peer))]
}

/** How far it has come only itself knows: `raft list` there says it. */
function healthOfCopy(context: Context, peer: PeerId): HealthView {
  const { agreement, observation, ports } = context
  const { ageMs, stale } = agreement.freshness('site')
  const { reachable } = observation.sight(peer)
  return {
    group: agreement.site.name,
    peer: nameOfPeer(context, peer),
    peerId: peer,
    member: '',
    kind: 'copy',
    role: 'follower',
    reachable,
    match: null,
    lag: null,
    lastContactMs: null,
    rttMs: ports.transport.rttMs(peer) ?? null,
    level: null,
    verdict: reachable ? 'well' : 'unreachable',
    ageMs: Math.round(ageMs),
    stale,
  }
}

const roundedOrNull = (value: number | undefined): number | null =>
  value === undefined ? null : Math.round(value)

function kindOf(
  { voters, votersOutgoing }: Parameters<typeof votersOf>[0],
  member: MemberId,
): HealthView['kind'] {
  if (voters.includes(member)) return 'voter'
  return votersOutgoing.includes(member) ? 'outgoing' : 'learner'
}

/** At the leader: hands over, and answers once the heir leads. */
function transfer(
  context: Context,
  which: GroupName,
  to: string,
  dryRun: boolean,
  done: Done<TransferView>,
): void {
  const { agreement, config } = context
  const group = agreement[which]
  const found = findPeer(context, to)
  if (!found.ok) return done(found)
  const { configuration, term } = group.status()
  const member = votersOf(configuration).find((each) => peerOf(each) === found.value.id)
  if (member === undefined) {
    const choices = votersOf(configuration).map((each) => nameOfPeer(context, peerOf(each)))
    return done(failed({ code: 'NOT_VOTER', group: group.name, peer: found.value.name, choices }))
  }
  const from = nameOfPeer(context, config.identity.peer)
  const view = (): TransferView => ({
    group: group.name,
    from,
    to: found.value.name,
    term: group.status().term,
  })
  if (dryRun || found.value.id === config.identity.peer) return done(ok({ ...view(), term }))
  // Writes would wait for it, for nothing.
  if (agreement.isSilent(which, found.value.id)) {
    const afterMs = Math.round(agreement.heardMs(which, found.value.id) ?? 0)
    return done(failed({ code: 'PEER_UNREACHABLE', peer: found.value.name, afterMs }))
  }
  group.transfer(member, (outcome) => {
    if (!outcome.ok)
      return done(outcome.failure.code === 'TIMEOUT' ? failed(noTransfer(found.value.name)) : outcome)
    // Another may have won the election that it came to.
    done(group.leader === found.value.id ? ok(view()) : failed(noTransfer(found.value.name)))
  })
}

const noTransfer = (name: string): Failure => ({
  code: 'TIMEOUT',
  what: `the transfer to ${name}`,
  afterMs: TRANSFER_MS,
})

/** Writes down what this peer's copy holds, once that is what the leader's did when it was asked. */
function saveSnapshot(context: Context, which: GroupName, path: string, done: Done<SnapshotView>): void {
  const { agreement, config, ports } = context
  const group = agreement[which]
  caughtUp(context, which, (outcome) => {
    if (!outcome.ok) return done(outcome)
    const captured = group.capture()
    const bytes = encodeSnapshotFile({
      format: 1,
      cluster: config.identity.mesh,
      group: group.name,
      ...captured,
      savedMs: ports.clock.wallMs(),
      by: config.identity.peer,
    })
    ports.snapshots.save(path, bytes, (saved) => {
      if (!saved.ok) return done(saved)
      const { configuration, generation, index, term } = captured
      const voters = votersOf(configuration).map((each) => nameOfPeer(context, peerOf(each)))
      done(ok({ group: group.name, generation, index, term, voters, bytes: bytes.length, path }))
    })
  })
}

/** Done when this peer's copy holds what the leader's does as it is asked: all that was acknowledged before. */
export function caughtUp({ agreement, asking, ports }: Context, which: GroupName, done: Done<void>): void {
  const group = agreement[which]
  const untilMs = ports.clock.nowMs() + TRANSFER_MS
  asking.here('raft.read', { group: group.name }, (outcome) => {
    if (!outcome.ok) return done(outcome)
    const { index } = outcome.value as { index: number }
    const look = (): void => {
      if (group.appliedIndex >= index) return done(ok(undefined))
      if (ports.clock.nowMs() >= untilMs)
        return done(failed({ code: 'TIMEOUT', what: `catching up with ${group.name}`, afterMs: TRANSFER_MS }))
      ports.clock.after(LOOK_MS, look)
    }
    look()
  })
}

/**
 * With this peer's copies as new as they can be had: what was agreed on before, on whichever peer, is in them. A group that
 * nobody leads has nothing newer, and whoever asks it for something is told so.
 */
export function withCurrent(context: Context, groups: readonly GroupName[], run: () => void): void {
  const [first, ...others] = groups
  if (first === undefined) run()
  else caughtUp(context, first, () => withCurrent(context, others, run))
}

/** Groups of this peer's in which another is the only one to vote. */
export const soleVotesOf = ({ agreement }: Context, peer: PeerId): string[] =>
  (['mesh', 'site'] as const).flatMap((which) => {
    const { configuration } = agreement[which].status()
    return votersOf(configuration).map(peerOf).join() === peer ? [agreement[which].name] : []
  })

/** Groups of this peer's in which another votes. */
export function votesOf({ agreement }: Context, peer: PeerId): string[] {
  return (['mesh', 'site'] as const).flatMap((which) => {
    const { configuration } = agreement[which].status()
    const votes = membersOf(configuration).some(
      (member) => peerOf(member) === peer && isVoter(configuration, member),
    )
    return votes ? [agreement[which].name] : []
  })
}
