/**
 * Peers that drain, are removed, or leave. In this order, so that no group is weakened on the way:
 *
 *   here ──peer-drain──▶ draining: no new votes, no new VMs; what votes it has are handed off by joint changes
 *        ──votes gone──▶ ──peer-remove──▶ removed: refused by every gate within the time an entry takes to spread
 *
 * `--force` skips what a dead peer cannot do: its votes are replaced afterwards, its VMs are listed as orphans. Whatever
 * was removed keeps its grants and disks (DESIGN section 3), and may join again with a fresh token.
 */
import type { Failure } from '../protocols/errors.ts'
import { REMOVERS } from '../protocols/features.ts'
import type { PeerId } from '../protocols/ids.ts'
import { type Done, failed, ok, type Outcome } from '../protocols/outcome.ts'
import { peersOfSite } from './catalog/mesh.ts'
import type { Context } from './context.ts'
import { soleVotesOf, votesOf, withCurrent } from './groups.ts'
import { findPeer, type FoundPeer, nameOfPeer } from './lookup.ts'
import { showPeer } from './show.ts'
import type { Params } from './operations.ts'
import type { PeerView, RemovalView } from './views.ts'

/** A replacement is brought up to date, and voted in: a few round trips, and a snapshot over a slow link. */
const HAND_OFF_MS = 60_000
const LOOK_MS = 200
const ASK_MS = 2_000
/** Orphans that an answer names. */
const NAMED_MAX = 256

type Votes = { readonly votes: string[]; readonly sole?: string[] }
type Lives = { readonly vms: string[] }

export function leavingHandlers(context: () => Context): Record<string, unknown> {
  return {
    'peer.drain': ({ name, undo, dryRun }: Params<'peer.drain'>, done: Done<unknown>) => {
      withCurrent(context(), ['mesh'], () => {
        const peer = peerNamed(context(), name)
        if (!peer.ok) return done(peer)
        if (dryRun) return done(ok(showPeer(context(), peer.value.id)))
        drain(context(), peer.value, !undo, done)
      })
    },
    'peer.remove': (params: Params<'peer.remove'>, done: Done<unknown>) => {
      // A VM that was placed there a moment ago counts, too.
      withCurrent(context(), ['mesh', 'site'], () => {
        const peer = peerNamed(context(), params.name)
        if (!peer.ok) return done(peer)
        livesOn(context(), peer.value, (vms) => remove(context(), peer.value, vms, params, done))
      })
    },
    /** Between peers: what only the peers of a site know of one of theirs. */
    'peer.votes': ({ name }: { name: string }, done: Done<unknown>) =>
      done(ok({ votes: votesOf(context(), name), sole: soleVotesOf(context(), name) } satisfies Votes)),
    'peer.lives': ({ name }: { name: string }, done: Done<unknown>) =>
      done(ok({ vms: vmsOn(context(), name) } satisfies Lives)),
  }
}

/** NOT_FOUND, AMBIGUOUS */
const peerNamed = (context: Context, typed: string): Outcome<FoundPeer> =>
  findPeer(context, typed === 'self' ? context.config.identity.peer : typed)

const vmsOn = ({ agreement }: Context, host: PeerId): string[] =>
  Object.values(agreement.site.state.vms)
    .filter((vm) => vm.host === host)
    .map(({ name }) => name)
    .toSorted()

/** VMs that live on a peer, by name: first hand, from a peer of its site, or from what that site said last. */
function livesOn(context: Context, peer: FoundPeer, done: (vms: string[]) => void): void {
  const { config, observation } = context
  if (peer.siteId === config.identity.site) return done(vmsOn(context, peer.id))
  const said = (): string[] =>
    (observation.digest(peer.siteId)?.digest.vms ?? [])
      .filter(({ host }) => host === peer.id)
      .map(({ name }) => name)
      .toSorted()
  atSiteOf<Lives>(context, peer, 'peer.lives', (outcome) => done(outcome.ok ? outcome.value.vms : said()))
}

/** Groups in which a peer votes, as far as anybody in sight can tell; those that it cannot hand off are left out. */
function votesHeld(context: Context, peer: FoundPeer, done: (groups: string[]) => void): void {
  const { agreement, config } = context
  const mesh = agreement.mesh.state
  const alone = peersOfSite(mesh, peer.siteId).length === 1
  const here = votesOf(context, peer.id)
  const handed = (groups: readonly string[]): string[] =>
    [...new Set(groups)].filter((group) => (group === 'mesh' ? Object.keys(mesh.peers).length > 1 : !alone))
  if (peer.siteId === config.identity.site) return done(handed(here))
  atSiteOf<Votes>(context, peer, 'peer.votes', (outcome) =>
    done(handed([...here, ...(outcome.ok ? outcome.value.votes : [])])),
  )
}

/** Asks peers of its site in turn, the peer itself last: it may be the one that is gone. */
function atSiteOf<T>(
  { agreement, asking, ports }: Context,
  peer: FoundPeer,
  method: string,
  done: Done<T>,
): void {
  const connected = new Set(ports.transport.connected())
  const peers = peersOfSite(agreement.mesh.state, peer.siteId)
    .filter((id) => connected.has(id))
    .toSorted((a, b) => Number(a === peer.id) - Number(b === peer.id))
  const ask = (index: number): void => {
    const to = peers[index]
    if (to === undefined) return done(failed({ code: 'PEER_UNREACHABLE', peer: peer.site, afterMs: 0 }))
    const next = (outcome: Outcome<unknown>): void =>
      outcome.ok ? done(outcome as Outcome<T>) : ask(index + 1)
    asking.there(to, method, { name: peer.id }, next, 0, ASK_MS)
  }
  ask(0)
}

/** Agrees on it, and waits until the votes that can go have gone. */
/** It may have been removed while its votes were handed off. */
const shown = (context: Context, { id, name }: FoundPeer): Outcome<PeerView> =>
  context.agreement.mesh.state.peers[id] === undefined
    ? failed({ code: 'NOT_FOUND', what: 'peer', name })
    : ok(showPeer(context, id))

function drain(context: Context, peer: FoundPeer, draining: boolean, done: Done<PeerView>): void {
  const { agreement } = context
  agreement.proposeMesh({ kind: 'peer-drain', peer: peer.id, draining }, (outcome) => {
    if (!outcome.ok) return done(outcome)
    if (!draining) return done(shown(context, peer))
    handedOff(context, peer, (left) => done(left === undefined ? shown(context, peer) : failed(left)))
  })
}

function handedOff(context: Context, peer: FoundPeer, done: (left: Failure | undefined) => void): void {
  const { ports } = context
  const untilMs = ports.clock.nowMs() + HAND_OFF_MS
  const look = (): void =>
    votesHeld(context, peer, (groups) => {
      if (groups.length === 0) return done(undefined)
      if (ports.clock.nowMs() >= untilMs) {
        const why = `nobody took them over in ${HAND_OFF_MS / 1_000} s`
        return done({ code: 'VOTES_HELD', peer: peer.name, groups, why })
      }
      ports.clock.after(LOOK_MS, look)
    })
  look()
}

function remove(
  context: Context,
  peer: FoundPeer,
  vms: readonly string[],
  { force, dryRun }: Params<'peer.remove'>,
  done: Done<RemovalView>,
): void {
  const { ports } = context
  if (vms.length > 0 && !force) {
    return done(failed({ code: 'PEER_IN_USE', peer: peer.name, vms: vms.slice(0, NAMED_MAX) }))
  }
  if (force) {
    return solelyHeld(context, peer, (leaderless) => {
      const view = { peer: peer.name, peerId: peer.id, orphans: vms.slice(0, NAMED_MAX), leaderless }
      if (dryRun) done(ok(view))
      else endAdmission(context, peer, vms, view, done)
    })
  }
  const view = { peer: peer.name, peerId: peer.id, orphans: vms.slice(0, NAMED_MAX), leaderless: [] }
  if (dryRun) return done(ok(view))
  const end = (): void => endAdmission(context, peer, vms, view, done)
  votesHeld(context, peer, (groups) => {
    if (groups.length === 0) return end()
    const inSight = peer.id === ports.transport.self || ports.transport.connected().includes(peer.id)
    if (!inSight) {
      const why = `${nameOfPeer(context, peer.id)} is out of sight`
      return done(failed({ code: 'VOTES_HELD', peer: peer.name, groups, why }))
    }
    drain(context, peer, true, (outcome) => (outcome.ok ? end() : done(outcome)))
  })
}

function endAdmission(
  context: Context,
  peer: FoundPeer,
  vms: readonly string[],
  view: RemovalView,
  done: Done<RemovalView>,
): void {
  const { agreement, ports, removals } = context
  const { self } = ports.transport
  const isSelf = peer.id === self
  if (isSelf) removals.leaves()
  const nowMs = ports.clock.wallMs()
  agreement.proposeMesh(
    {
      kind: 'peer-remove',
      peer: peer.id,
      nowMs,
      orphans: vms.length,
      ...(agreement.mesh.level >= REMOVERS && { by: self }),
    },
    (outcome) => {
      if (isSelf) removals.answered(outcome)
      done(outcome.ok ? ok(view) : outcome)
    },
  )
}

/** Groups with other peers in which a peer is the only voter, as far as anybody in sight can tell: without it they stand still. */
function solelyHeld(context: Context, peer: FoundPeer, done: (groups: string[]) => void): void {
  const { agreement, config } = context
  const others = peersOfSite(agreement.mesh.state, peer.siteId).length > 1
  const held = (groups: readonly string[]): string[] =>
    [...new Set(groups)].filter((group) => group === 'mesh' || others)
  const here = soleVotesOf(context, peer.id)
  if (!others || peer.siteId === config.identity.site) return done(held(here))
  atSiteOf<Votes>(context, peer, 'peer.votes', (outcome) =>
    done(held([...here, ...(outcome.ok ? (outcome.value.sole ?? []) : [])])),
  )
}
