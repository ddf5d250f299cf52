/**
 * What one simulation is: who is there, how the world behaves, and which faults strike when. `drawn` makes one from a
 * seed (swarm testing: each seed has its own subset of faults, each with its own rate; ranges after TigerBeetle's VOPR).
 * Everything that happens follows from this value, so a failing one can be made smaller and run again.
 */
import {
  ELECTION_TICKS,
  HEARTBEAT_TICKS,
  LOG_ENTRIES_KEPT,
  SNAPSHOT_EVERY_ENTRIES,
  TICK_MS,
} from '../../protocols/limits.ts'
import type { RaftConfig } from '../../protocols/raft/types.ts'
import { random, type Random } from '../random.ts'
import { FAULTS, type FaultName } from './faults.ts'
import type { DiskRates } from './disk.ts'
import type { NetworkRates } from './network.ts'

type PlannedFault = {
  readonly atUs: number
  readonly fault: FaultName
  /** Of its own dice, so that the faults before it can be left out and it stays what it is. */
  readonly dice: number
}

type GroupSetup = {
  readonly name: string
  /** Hosts that found it, as voters. */
  readonly founders: readonly number[]
  /** Hosts that changes of configuration may bring in. */
  readonly spares: readonly number[]
  readonly clients: number
}

export type Setup = {
  readonly seed: number
  /** What is played beside the faults, if anything is (scenarios.ts). */
  readonly scenario?: string
  readonly hosts: number
  readonly groups: readonly GroupSetup[]
  readonly tickUs: number
  readonly timing: Pick<RaftConfig, 'electionTicks' | 'heartbeatTicks'>
  readonly bounds: Pick<RaftConfig, 'entriesKept' | 'snapshotPartBytes' | 'maxInflightMsgs'>
  /** Entries applied after which a member makes a snapshot. */
  readonly snapshotEvery: number
  readonly network: NetworkRates
  readonly disk: DiskRates
  readonly clients: {
    /** Between an answer and the next operation, on average. */
    readonly thinkUs: number
    readonly keys: number
    readonly reads: number
    /** Whether a write without an answer is asked for again in its session. */
    readonly retries: boolean
  }
  /** Leaders measure their links, and propose the group's timing. */
  readonly adaptive?: boolean
  /** Every message through the codec; else only those between hosts of different versions. */
  readonly codec: boolean
  /** All hosts begin with the version of before. */
  readonly olderAtFirst?: boolean
  readonly faults: readonly PlannedFault[]
  /** Faults strike until then; afterwards all that is left has to become well. */
  readonly safetyUs: number
}

/** What a group goes by until it has agreed on other timing. */
export const PRODUCT_TIMING = { heartbeatTicks: HEARTBEAT_TICKS, electionTicks: ELECTION_TICKS }

/** The bounds of a swarm, in one place. */
const MS = 1_000
const SECOND = 1_000_000

export function drawn(seed: number, minutes: number): Setup {
  const dice = random(seed, 'setup')
  const safetyUs = Math.round(minutes * 60 * SECOND)
  const founders = dice.pick([1, 2, 3, 3, 3, 4, 5, 5, 5, 7])
  const hosts = founders + dice.pick([0, 1, 2, 3, 4])
  const all = Array.from({ length: hosts }, (_, n) => n)
  const sites = dice.pick([0, 0, 1, 2, 3])
  const groups: GroupSetup[] = [
    { name: 'mesh', founders: all.slice(0, founders), spares: all, clients: 1 + dice.below(4) },
    ...Array.from({ length: sites }, (_, n): GroupSetup => {
      const voters = dice.shuffle(all).slice(0, dice.pick([1, 1, 3]))
      return { name: `site/s${n}`, founders: voters.sort((a, b) => a - b), spares: all, clients: 1 }
    }),
  ]
  const network = drawnNetwork(dice)
  const disk = { minUs: dice.pick([50, 500, 5 * MS]), meanUs: dice.pick([100, MS, 10 * MS, 50 * MS]) }
  const tickUs = TICK_MS * MS
  // An election takes two round trips and two writes. Timeouts that allow for less would elect nobody, ever.
  const electionUs = 3 * (2 * (network.delay.minUs + 2 * network.delay.meanUs) + disk.minUs + 2 * disk.meanUs)
  const electionTicks = Math.max(dice.pick([8, 20, 50, 100]), Math.ceil(electionUs / tickUs))
  const heartbeatTicks = Math.max(1, Math.floor(electionTicks / dice.pick([4, 5, 10])))
  const world: Setup = {
    seed,
    hosts,
    groups,
    tickUs,
    timing: { heartbeatTicks, electionTicks },
    bounds: {
      entriesKept: dice.pick([0, 3, 20, 200]),
      snapshotPartBytes: dice.pick([16, 64, 4_096]),
      maxInflightMsgs: dice.pick([1, 3, 64]),
    },
    snapshotEvery: dice.pick([5, 40, 300, 100_000]),
    network,
    disk,
    clients: {
      thinkUs: dice.pick([20, 100, 300, 1_000]) * MS,
      keys: 1 + dice.below(4),
      reads: dice.pick([0.2, 0.5, 0.8]),
      retries: dice.chance(0.6),
    },
    codec: dice.chance(0.15),
    faults: drawnFaults(dice, safetyUs),
    safetyUs,
  }
  // Of dice of its own: whatever else a seed is, it stays.
  const isUpgraded = world.faults.some(({ fault }) => fault === 'upgrade')
  return { ...world, olderAtFirst: isUpgraded && random(seed, 'versions').chance(0.6) }
}

/** A quiet world with one group: what a scenario begins from. */
export function still(seed: number, voters: number): Setup {
  const founders = Array.from({ length: voters }, (_, n) => n)
  return {
    seed,
    hosts: voters,
    groups: [{ name: 'mesh', founders, spares: founders, clients: 3 }],
    tickUs: TICK_MS * MS,
    timing: { heartbeatTicks: 10, electionTicks: 50 },
    bounds: { entriesKept: 50, snapshotPartBytes: 4_096, maxInflightMsgs: 64 },
    snapshotEvery: 200,
    network: {
      model: 'datagrams',
      delay: { minUs: MS, meanUs: 2 * MS },
      loss: 0,
      duplicate: 0,
      replay: 0,
      replayUs: SECOND,
      ordered: true,
    },
    disk: { minUs: 500, meanUs: 2 * MS },
    clients: { thinkUs: 100 * MS, keys: 3, reads: 0.5, retries: false },
    codec: false,
    faults: [],
    safetyUs: 50 * SECOND,
  }
}

/** One mesh group and many sites of one voter, in good health, with the product's timing: what speed is measured on. */
export function healthy(seed: number, voters: number, sites: number, seconds: number): Setup {
  const base = still(seed, voters)
  return {
    ...base,
    hosts: voters + sites,
    groups: [
      ...base.groups.map((group) => ({ ...group, clients: 1 })),
      ...Array.from({ length: sites }, (_, n): GroupSetup => {
        return { name: `site/s${n}`, founders: [voters + n], spares: [], clients: 1 }
      }),
    ],
    timing: PRODUCT_TIMING,
    bounds: { entriesKept: LOG_ENTRIES_KEPT },
    snapshotEvery: SNAPSHOT_EVERY_ENTRIES,
    network: { ...base.network, delay: { minUs: 20 * MS, meanUs: 5 * MS } },
    clients: { thinkUs: 10 * SECOND, keys: 10, reads: 0.5, retries: true },
    safetyUs: seconds * SECOND,
  }
}

function drawnNetwork(dice: Random): NetworkRates {
  const some = (most: number): number => (dice.chance(0.5) ? 0 : most * dice() * dice())
  return {
    model: dice.chance(0.2) ? 'streams' : 'datagrams',
    delay: { minUs: dice.pick([100, MS, 10 * MS, 30 * MS]), meanUs: dice.pick([100, MS, 10 * MS, 50 * MS]) },
    loss: some(0.3),
    duplicate: some(0.5),
    replay: some(0.1),
    replayUs: dice.pick([1, 5, 30]) * SECOND,
    ordered: dice.chance(0.2),
  }
}

/** Half of the kinds, each at a rate of its own; the last tenth of the time belongs to what was struck before. */
function drawnFaults(dice: Random, safetyUs: number): PlannedFault[] {
  const planned: PlannedFault[] = []
  for (const { name, everySeconds } of FAULTS) {
    if (dice.chance(0.4)) continue
    const [least, most] = everySeconds
    const meanUs = SECOND * least * (most / least) ** dice()
    for (let atUs = 0; ;) {
      atUs += Math.round(meanUs * -Math.log(1 - dice()))
      if (atUs >= safetyUs) break
      planned.push({ atUs, fault: name, dice: dice.below(2 ** 31) })
    }
  }
  return planned.sort((a, b) => a.atUs - b.atUs || a.dice - b.dice)
}
