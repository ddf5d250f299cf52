/**
 * What this peer sees of others: who is in sight (SWIM), what hosts say of themselves on their site's topic, what each
 * site's digest says on the mesh's. Bounded, newest wins, always with an age. Nothing here enters Raft.
 */
import type { Verdict } from '../protocols/broadcast.ts'
import { printEpoch } from '../protocols/epoch.ts'
import { GodwitError } from '../protocols/errors.ts'
import type { PeerId } from '../protocols/ids.ts'
import { DIGEST_VMS_MAX, JOB_TEXT_MAX, SAMPLE_JOBS_MAX, SAMPLE_VMS_MAX } from '../protocols/limits.ts'
import {
  type Digest,
  digest,
  meshTopic,
  type Sample,
  sample,
  siteTopic,
} from '../protocols/telemetry/messages.ts'
import { step as stepMembership, type Event as MembershipEvent } from '../protocols/membership/membership.ts'
import { message as swimMessage, PROTOCOL as SWIM } from '../protocols/membership/messages.ts'
import { type Membership, newMembership } from '../protocols/membership/state.ts'
import { peersOfSite } from './catalog/mesh.ts'
import { hostsForPlacement, specOf } from './catalog/site.ts'
import type { Context, Ports } from './context.ts'
import type { MachineUsage } from './hypervisor.ts'
import { nameOfPeer } from './lookup.ts'
import {
  digestOf,
  hearDigest,
  hearSample,
  keep,
  newObserved,
  type Observed,
  sampleOf,
} from './telemetry/observed.ts'
import {
  type Effect,
  frameOfDigest,
  frameOfSample,
  newPublishing,
  type Publishing,
  step as stepPublishing,
} from './telemetry/publish.ts'
import { Timers } from './timers.ts'

/** Four times a second: nothing in membership has a finer grain. */
const TICK_MS = 250

export class Observation {
  readonly #context: () => Context
  readonly #ports: Ports
  readonly #self: PeerId
  readonly #membership: Membership
  readonly #observed: Observed = newObserved()
  readonly #publishing: Publishing
  /** Of this process: later lives have larger ones, as far as the wall clock goes. */
  readonly #life: number
  readonly #timers: Timers
  #stopped = false

  constructor(context: () => Context, self: PeerId, ports: Ports) {
    this.#context = context
    this.#ports = ports
    this.#timers = new Timers(ports.clock)
    this.#self = self
    const { clock, dice, transport } = ports
    this.#life = clock.wallMs()
    this.#publishing = newPublishing(clock.nowMs(), dice)
    // Above whatever an earlier life of this peer used, so that old rumours about it are old.
    const incarnation = Math.floor(clock.wallMs() / 1_000)
    this.#membership = newMembership({ self, incarnation, nowMs: clock.nowMs() }, dice)
    transport.serve(SWIM, {
      frame: (from, frame) => this.#feed({ kind: 'message', from, message: swimMessage.decode(frame) }),
    })
    transport.watch((peer, up) => this.#feed({ kind: 'connection', peer, up }))
  }

  start(): void {
    const { mesh, site } = this.#context().config.identity
    this.#ports.broadcast.subscribe(siteTopic(mesh, site), (from, frame) => this.#hearSample(from, frame))
    this.#ports.broadcast.subscribe(meshTopic(mesh), (from, frame) => this.#hearDigest(from, frame))
    this.members()
    for (const peer of this.#ports.transport.connected()) this.#feed({ kind: 'connection', peer, up: true })
    let dueMs = this.#ports.clock.nowMs()
    const tick = (): void => {
      if (this.#stopped) return
      const nowMs = this.#ports.clock.nowMs()
      // How late this tick is, is how long the event loop was held.
      if (nowMs - dueMs > TICK_MS) this.#feed({ kind: 'delay', ms: nowMs - dueMs })
      this.#feed({ kind: 'tick', nowMs })
      const leads = this.#context().agreement.site.role === 'leader'
      for (const effect of stepPublishing(this.#publishing, { kind: 'tick', nowMs, leads }, this.#ports.dice))
        this.#publish(effect)
      dueMs = nowMs + TICK_MS
      this.#timers.after(TICK_MS, tick)
    }
    tick()
  }

  stop(): void {
    this.#stopped = true
    this.#timers.stop()
  }

  /** Who is admitted may have changed. */
  members(): void {
    const { peers, sites } = this.#context().agreement.mesh.state
    const ids = Object.keys(peers)
    this.#feed({ kind: 'members', peers: ids })
    keep(this.#observed, new Set(ids), new Set(Object.keys(sites)))
  }

  /** Something worth telling has happened here. */
  hurry(): void {
    stepPublishing(this.#publishing, { kind: 'hurry', nowMs: this.#ports.clock.nowMs() }, this.#ports.dice)
  }

  peerState(peer: PeerId): 'alive' | 'suspect' | 'unreachable' | 'lost' | 'unknown' {
    return this.#membership.members.get(peer)?.state ?? 'unknown'
  }

  /** Whether a peer is in sight, a suspect still being so, and since when its standing is what it is. */
  sight(peer: PeerId): { reachable: boolean; forMs: number } {
    const member = this.#membership.members.get(peer)
    if (member === undefined) return { reachable: false, forMs: 0 }
    const { state, sinceMs } = member
    return {
      reachable: state === 'alive' || state === 'suspect',
      forMs: this.#ports.clock.nowMs() - sinceMs,
    }
  }

  sample(peer: PeerId): { sample: Sample; ageMs: number } | undefined {
    return sampleOf(this.#observed, peer, this.#ports.clock.nowMs())
  }

  digest(site: string): { digest: Digest; ageMs: number } | undefined {
    return digestOf(this.#observed, site, this.#ports.clock.nowMs())
  }

  /** Lifeguard's local health: 0 when this peer's own probes can be trusted. */
  health(): number {
    return this.#membership.health
  }

  #hearSample(from: PeerId, frame: Uint8Array): Verdict {
    return this.#judged('sample', () =>
      hearSample(this.#observed, sample.decode(frame), {
        ...this.#around(from),
        ownSite: this.#context().config.identity.site,
      }),
    )
  }

  #hearDigest(from: PeerId, frame: Uint8Array): Verdict {
    return this.#judged('digest', () => hearDigest(this.#observed, digest.decode(frame), this.#around(from)))
  }

  #around(from: PeerId): Parameters<typeof hearDigest>[2] {
    const { peers } = this.#context().agreement.mesh.state
    return { from, nowMs: this.#ports.clock.nowMs(), siteOf: (peer) => peers[peer]?.site }
  }

  /** What a decoder refuses is rejected: it costs whoever sent it. */
  #judged(topic: 'sample' | 'digest', hear: () => Verdict): Verdict {
    let verdict: Verdict = 'reject'
    try {
      verdict = hear()
    } catch (error) {
      if (!(error instanceof GodwitError)) throw error
    }
    this.#context().counts.gossip(topic, verdict)
    return verdict
  }

  #publish({ kind, sequence }: Effect): void {
    const { broadcast, hypervisor } = this.#ports
    const { config } = this.#context()
    const { mesh, site } = config.identity
    if (kind === 'digest') return broadcast.publish(meshTopic(mesh), frameOfDigest(this.#ownDigest(sequence)))
    hypervisor.usage((usage) => {
      if (this.#stopped) return
      const own = this.#ownSample(sequence, usage.ok ? usage.value : [])
      this.#observed.samples.set(this.#self, { value: own, atMs: this.#ports.clock.nowMs() })
      broadcast.publish(siteTopic(mesh, site), frameOfSample(own))
    })
  }

  #ownSample(sequence: number, usage: readonly MachineUsage[]): Sample {
    const { config, jobs, vms } = this.#context()
    const grants = vms.grants()
    return {
      author: this.#self,
      life: this.#life,
      sequence,
      site: config.identity.site,
      version: config.version,
      driver: this.#ports.hypervisor.driver,
      ...this.#ports.host.sample(),
      vmsTotal: grants.length,
      vms: grants.slice(0, SAMPLE_VMS_MAX).map(({ vm, name, epoch }) => {
        const view = vms.view(vm)
        const used = usage.find((each) => each.vm === vm)
        return {
          id: vm,
          name,
          state: view?.state ?? 'unknown',
          epoch: printEpoch(epoch),
          why: (view?.why ?? '').slice(0, 200),
          cpuSeconds: used?.cpuSeconds ?? 0,
          memoryBytes: used?.memoryBytes ?? 0,
          diskReadBytes: used?.diskReadBytes ?? 0,
          diskWrittenBytes: used?.diskWrittenBytes ?? 0,
        }
      }),
      jobs: jobs
        .list()
        .slice(0, SAMPLE_JOBS_MAX)
        .map((job) => JSON.stringify(job))
        .filter((text) => text.length <= JOB_TEXT_MAX),
    }
  }

  #ownDigest(sequence: number): Digest {
    const context = this.#context()
    const { agreement, config } = context
    const peers = peersOfSite(agreement.mesh.state, config.identity.site)
    const hosts = hostsForPlacement(agreement.site.state)
    const all = Object.values(agreement.site.state.vms)
    const states = new Map(all.map((vm) => [vm.id, this.#stateOf(vm.id, vm.host)]))
    return {
      author: this.#self,
      life: this.#life,
      sequence,
      site: config.identity.site,
      term: agreement.site.status().term,
      peers: peers.length,
      peersAlive: peers.filter((peer) => peer === this.#self || this.peerState(peer) === 'alive').length,
      cpus: hosts.reduce((sum, { capacity }) => sum + capacity.cpus, 0),
      memoryMiB: hosts.reduce((sum, { capacity }) => sum + capacity.memoryMiB, 0),
      memoryCommittedMiB: hosts.reduce((sum, { committed }) => sum + committed.memoryMiB, 0),
      vmsTotal: all.length,
      vmsRunning: [...states.values()].filter((state) => state === 'running').length,
      vms: all
        .toSorted((a, b) => (a.id < b.id ? -1 : 1))
        .slice(0, DIGEST_VMS_MAX)
        .map((vm) => {
          const { cpus, memoryMiB } = specOf(vm)
          return {
            id: vm.id,
            name: vm.name,
            host: vm.host,
            // Its mesh log may be empty: a host is known by its site, too, and else by a name like any other.
            hostName: agreement.site.state.hosts[vm.host]?.name ?? nameOfPeer(context, vm.host).toLowerCase(),
            epoch: printEpoch(vm.epoch),
            wanted: vm.wanted,
            state: states.get(vm.id) ?? 'unknown',
            cpus,
            memoryMiB,
          }
        }),
    }
  }

  #stateOf(vm: string, host: PeerId): Digest['vms'][number]['state'] {
    if (host === this.#self) return this.#context().vms.view(vm)?.state ?? 'unknown'
    return this.sample(host)?.sample.vms.find(({ id }) => id === vm)?.state ?? 'unknown'
  }

  #feed(event: MembershipEvent): void {
    if (this.#stopped) return
    for (const effect of stepMembership(this.#membership, event, this.#ports.dice)) {
      if (effect.kind === 'send')
        this.#ports.transport.send(effect.to, SWIM, swimMessage.encode(effect.message), { dial: false })
      else if (effect.state === 'unreachable' || effect.state === 'lost')
        this.#context().agreement.forget(effect.peer)
    }
  }
}
