/** What this peer knows, as the views of views.ts: agreed facts first hand, everything else with its age. */
import { printEpoch } from '../protocols/epoch.ts'
import { describeFailure } from '../protocols/errors.ts'
import type { PeerId } from '../protocols/ids.ts'
import { FOLLOW_ADRIFT_MS, STALE_MS } from '../protocols/limits.ts'
import { isVoter, votersOf } from '../protocols/raft/configuration.ts'
import { type MemberId, peerOf } from '../protocols/raft/member.ts'
import type { GroupName } from './agreement.ts'
import { peersOfSite, siteNamed } from './catalog/mesh.ts'
import { hostsForPlacement, type SiteVm, specOf } from './catalog/site.ts'
import type { Group } from './group.ts'
import type { Context } from './context.ts'
import { nameOfPeer } from './lookup.ts'
import { describeHalt } from './opening.ts'
import { rivalsOf } from './registering.ts'
import type { GroupView, JobView, PeerView, SiteView, StatusView, TokenView, VmView } from './views.ts'

export function showPeer(context: Context, id: PeerId): PeerView {
  const { agreement, config, observation, ports } = context
  const peer = agreement.mesh.state.peers[id]
  const self = id === config.identity.peer
  const seen = observation.sample(id)
  const sample = seen?.sample
  const agreed = agreement.freshness('mesh')
  const ageMs = Math.max(self ? 0 : (seen?.ageMs ?? 0), agreed.stale ? agreed.ageMs : 0)
  const host = agreement.site.state.hosts[id]
  return {
    id,
    name: peer?.name ?? (self ? config.identity.peerName : id.slice(-8)),
    site: agreement.mesh.state.sites[peer?.site ?? '']?.name ?? (self ? config.identity.siteName : ''),
    self,
    state: self ? 'alive' : observation.peerState(id),
    connected: self || ports.transport.connected().includes(id),
    path: self ? null : (ports.transport.path(id) ?? null),
    rttMs: self ? 0 : (ports.transport.rttMs(id) ?? null),
    addresses: peer?.addresses ?? (self ? ports.transport.addresses() : []),
    driver: self ? ports.hypervisor.driver : (host?.driver ?? sample?.driver ?? ''),
    cpus: host?.cpus ?? sample?.cpus ?? 0,
    memoryMiB: host?.memoryMiB ?? Math.round((sample?.memoryTotalBytes ?? 0) / 1024 ** 2),
    cpuLoad: sample?.cpuLoad ?? null,
    memoryUsed: sample === undefined ? null : sample.memoryUsedBytes / Math.max(1, sample.memoryTotalBytes),
    diskFreeBytes: sample?.diskFreeBytes ?? null,
    vms: peer?.site === config.identity.site ? vmsOn(context, id) : (sample?.vms.length ?? 0),
    version: self ? config.version : (sample?.version ?? ''),
    labels: host?.labels ?? (self ? { ...config.labels } : {}),
    draining: peer?.draining ?? false,
    roles: rolesOf(context, id),
    ageMs: Math.round(ageMs),
    stale: agreed.stale || ageMs > STALE_MS,
  }
}

const vmsOn = ({ agreement }: Context, host: PeerId): number =>
  Object.values(agreement.site.state.vms).filter((vm) => vm.host === host).length

export const showPeers = (context: Context): PeerView[] =>
  Object.keys(context.agreement.mesh.state.peers)
    .map((id) => showPeer(context, id))
    .toSorted((a, b) => a.site.localeCompare(b.site) || a.name.localeCompare(b.name))

export function showSites(context: Context): SiteView[] {
  const { agreement, config, observation } = context
  return Object.values(agreement.mesh.state.sites)
    .toSorted((a, b) => a.name.localeCompare(b.name))
    .map((site) => {
      const peers = peersOfSite(agreement.mesh.state, site.id)
      const self = site.id === config.identity.site
      const agreed = agreedAge(context, 'site')
      const alive = peers.filter(
        (id) => id === config.identity.peer || observation.peerState(id) === 'alive',
      ).length
      const base = { id: site.id, name: site.name, self, peers: peers.length, peersAlive: alive }
      if (self) {
        const hosts = hostsForPlacement(agreement.site.state)
        const vms = showVms(context).filter((vm) => vm.site === site.name)
        return {
          ...base,
          vms: vms.length,
          vmsRunning: vms.filter(({ state }) => state === 'running').length,
          memoryMiB: hosts.reduce((sum, { capacity }) => sum + capacity.memoryMiB, 0),
          memoryCommittedMiB: hosts.reduce((sum, { committed }) => sum + committed.memoryMiB, 0),
          ...agreed,
        }
      }
      const seen = observation.digest(site.id)
      const ageMs = seen?.ageMs ?? 0
      return {
        ...base,
        vms: seen?.digest.vmsTotal ?? 0,
        vmsRunning: seen?.digest.vmsRunning ?? 0,
        memoryMiB: seen?.digest.memoryMiB ?? 0,
        memoryCommittedMiB: seen?.digest.memoryCommittedMiB ?? 0,
        ageMs,
        stale: seen === undefined || ageMs > STALE_MS,
      }
    })
}

/** A VM of the own site: its state first hand when it is here, as its host said last otherwise. */
export function showVm(context: Context, vm: SiteVm): VmView {
  const { agreement, config, observation, vms } = context
  const spec = specOf(vm)
  const here = vm.host === config.identity.peer
  const seen = observation.sample(vm.host)
  const told = seen?.sample.vms.find(({ id }) => id === vm.id)
  const view = here ? vms.view(vm.id) : undefined
  const agreed = agreement.freshness('site')
  const ageMs = Math.round(Math.max(here ? 0 : (seen?.ageMs ?? 0), agreed.stale ? agreed.ageMs : 0))
  const moving = vm.move !== undefined
  const state = here ? (view?.state ?? 'stopped') : (told?.state ?? 'unknown')
  return {
    id: vm.id,
    name: vm.name,
    site: config.identity.siteName,
    host: nameOfPeer(context, vm.host),
    hostId: vm.host,
    epoch: printEpoch(vm.epoch),
    wanted: vm.wanted,
    state: moving && state !== 'running' ? 'moving' : state,
    why: here ? (view?.why ?? '') : (told?.why ?? ''),
    cpus: spec.cpus,
    memoryMiB: spec.memoryMiB,
    labels: spec.labels,
    job: vm.move?.m ?? '',
    cpuSeconds: told?.cpuSeconds ?? null,
    memoryBytes: told?.memoryBytes ?? null,
    ageMs,
    stale: agreed.stale || (!here && (seen === undefined || ageMs > STALE_MS)),
  }
}

export function showVms(context: Context): VmView[] {
  const { agreement, config, observation } = context
  const own = Object.values(agreement.site.state.vms).map((vm) => showVm(context, vm))
  const known = new Set(own.map(({ id }) => id))
  const others = Object.values(agreement.mesh.state.sites).flatMap((site): VmView[] => {
    const seen = site.id === config.identity.site ? undefined : observation.digest(site.id)
    if (seen === undefined) return []
    return seen.digest.vms.flatMap((vm) =>
      known.has(vm.id)
        ? []
        : [
            {
              id: vm.id,
              name: vm.name,
              site: site.name,
              host: vm.hostName,
              hostId: vm.host,
              epoch: vm.epoch,
              wanted: vm.wanted,
              state: vm.state,
              why: '',
              cpus: vm.cpus,
              memoryMiB: vm.memoryMiB,
              labels: {},
              job: '',
              cpuSeconds: null,
              memoryBytes: null,
              ageMs: seen.ageMs,
              stale: seen.ageMs > STALE_MS,
            },
          ],
    )
  })
  return [...own, ...others].toSorted((a, b) => a.site.localeCompare(b.site) || a.name.localeCompare(b.name))
}

/** What a group agreed on is as it was agreed, until this peer hears no leader any more. */
export function agreedAge({ agreement }: Context, which: GroupName): { ageMs: number; stale: boolean } {
  const { ageMs, stale } = agreement.freshness(which)
  return { ageMs: stale ? Math.round(ageMs) : 0, stale }
}

/** The groups that this peer is in. */
export function showGroups(context: Context): GroupView[] {
  const { agreement } = context
  return (['mesh', 'site'] as const).map((which) => {
    const group = agreement[which]
    const { configuration, role } = group.status()
    const outsider = configuration.learners.includes(group.member) ? 'learner' : 'outside'
    const passive = isVoter(configuration, group.member) ? 'follower' : outsider
    return {
      ...showGroup(context, group, agreement.freshness(which)),
      role: role === 'follower' ? passive : role,
      missing: agreement.missing(which).map((id) => nameOfPeer(context, id)),
    }
  })
}

/** Groups of other sites of which this peer keeps a copy; it leads one only where a lost site was recovered from it. */
export const showCopies = (context: Context): GroupView[] =>
  context.copies.all().map((group) => {
    // Nothing is known of the time before this life.
    const aliveMs = context.ports.clock.nowMs() - context.startedMs
    const ageMs = Math.min(context.following.followed(group.name).ageMs, aliveMs)
    const { configuration, role } = group.status()
    const isMember = isVoter(configuration, group.member)
    return {
      ...showGroup(context, group, { ageMs, stale: ageMs > FOLLOW_ADRIFT_MS }),
      role: isMember ? role : 'copy',
      missing: [],
    }
  })

function showGroup(
  context: Context,
  group: Pick<
    Group<unknown, never>,
    'name' | 'generation' | 'rival' | 'leader' | 'level' | 'halted' | 'unwritable' | 'opened' | 'status'
  >,
  { ageMs, stale }: { readonly ageMs: number; readonly stale: boolean },
): Omit<GroupView, 'role' | 'missing'> {
  const names = (ids: readonly MemberId[]): string[] => ids.map((id) => nameOfPeer(context, peerOf(id)))
  const { term, configuration, commit, applied, lastIndex, snapshotIndex } = group.status()
  const { source } = context.following.followed(group.name)
  const mesh = context.agreement.mesh.state
  return {
    group: group.name,
    generation: group.generation,
    term,
    leader: group.leader === '' ? '' : nameOfPeer(context, group.leader),
    source: source === '' ? '' : nameOfPeer(context, source),
    voters: names(configuration.voters),
    learners: names(configuration.learners),
    commit,
    applied,
    lastIndex,
    snapshotIndex,
    unwritable: group.unwritable === undefined ? '' : describeFailure(group.unwritable),
    damaged: showDamage(group.opened),
    level: group.level,
    halted: group.halted === undefined ? '' : describeHalt(group.name, group.halted),
    rivals: rivalsOf(mesh, group, siteNamed(mesh, group.name.slice('site/'.length))?.id ?? ''),
    lag: Math.max(0, commit - applied),
    ageMs: Math.round(ageMs),
    stale,
  }
}

function showDamage({ how, why, reason }: Group<unknown, never>['opened']): string {
  if (how === 'rebuilt' || how === 'quarantined') return `${how} at this start: ${why}`
  return reason === undefined ? '' : `put aside at ${new Date(reason.atMs).toISOString()}: ${reason.why}`
}

/** What a peer is in the groups that this one is in. */
function rolesOf({ agreement }: Context, id: PeerId): string[] {
  return [agreement.mesh, agreement.site].flatMap((group) => {
    const { configuration } = group.status()
    const as = (members: readonly MemberId[]): boolean => members.some((member) => peerOf(member) === id)
    if (as(votersOf(configuration))) return [`${group.leader === id ? 'leader' : 'voter'} ${group.name}`]
    return as(configuration.learners) ? [`learner ${group.name}`] : []
  })
}

export function showTokens(context: Context): TokenView[] {
  const { agreement, ports } = context
  const agreed = agreedAge(context, 'mesh')
  return Object.values(agreement.mesh.state.tokens)
    .toSorted((a, b) => (a.id < b.id ? 1 : -1))
    .map((token) => ({
      id: token.id,
      site: token.siteName,
      expiresAt: new Date(token.expiresMs).toISOString(),
      state: token.state === 'open' && token.expiresMs < ports.clock.wallMs() ? 'expired' : token.state,
      usedBy: token.usedBy === '' ? '' : nameOfPeer(context, token.usedBy),
      ...agreed,
    }))
}

export function showStatus(context: Context, ready: boolean): StatusView {
  const { config, ports, startedMs } = context
  const peers = showPeers(context)
  const vms = showVms(context)
  const alive = peers.filter(({ state }) => state === 'alive')
  const inSight = new Set(alive.map(({ site }) => site))
  const groups = showGroups(context)
  return {
    version: config.version,
    mesh: config.identity.mesh,
    peer: config.identity.peerName,
    peerId: config.identity.peer,
    site: config.identity.siteName,
    ready,
    removed: context.removals.text() ?? '',
    folder: showFolder(context),
    driver: ports.hypervisor.driver,
    uptimeMs: Math.round(ports.clock.nowMs() - startedMs),
    groups,
    ageMs: Math.max(...groups.map(({ ageMs }) => ageMs)),
    stale: groups.some(({ stale }) => stale),
    peers: peers.length,
    peersAlive: alive.length,
    vms: vms.length,
    vmsRunning: vms.filter(({ state }) => state === 'running').length,
    jobsRunning: showJobs(context).filter(({ state }) => state === 'running').length,
    cutOffFrom: [...new Set(peers.map(({ site }) => site))].filter((site) => !inSight.has(site)),
    room: context.keeping.room.view(),
    http: config.http,
  }
}

/** A replaced folder that is not to be believed yet is worth more than that it is bound. */
function showFolder({ binding, doubt }: Context): StatusView['folder'] {
  const unheard = doubt.unheard()
  return unheard === undefined ? binding.view() : { state: 'replaced', why: unheard }
}

/** This peer's jobs, and what the peers of its site said of theirs. */
export function showJobs(context: Context): JobView[] {
  const { agreement, config, jobs, observation } = context
  const own = jobs.list()
  const known = new Set(own.map(({ id }) => id))
  const others = peersOfSite(agreement.mesh.state, config.identity.site).flatMap((peer) => {
    const seen = peer === config.identity.peer ? undefined : observation.sample(peer)
    if (seen === undefined) return []
    return seen.sample.jobs.flatMap((text): JobView[] => {
      const job = parseJob(text)
      return job === undefined || known.has(job.id) ? [] : [{ ...job, ageMs: seen.ageMs }]
    })
  })
  return [...own, ...others].toSorted((a, b) => (a.id < b.id ? 1 : -1))
}

function parseJob(text: string): JobView | undefined {
  try {
    return JSON.parse(text) as JobView
  } catch {
    return undefined
  }
}
