/**
 * Time without a leader: five real peers in five sites, in namespaces with real links between them, elect their voters;
 * the leader of the mesh group is killed (SIGKILL), again and again. Time runs from the kill to the moment from which a
 * surviving peer says that it leads. Beside it what the simulator says over many seeds (failover-simulated.ts).
 */
import { setTimeout as sleep } from 'node:timers/promises'
import type { GroupView } from '../../node/views.ts'
import { Mesh, type Peer, until } from '../e2e/support.ts'
import { type Lab, openLab } from '../lab/lab.ts'
import { type Bench, row } from './bench.ts'
import { simulated } from './failover-simulated.ts'

const RTTS_MS = [40, 80, 150]
const VOTERS = 5
const RATE_MBIT = 50
/** How often each survivor is asked who leads: the grain of the figure. */
const LOOK_MS = 5
const ELECTED_MS_MAX = 180_000
const FAILOVER_MS_MAX = 60_000
/** Timing becomes shorter by halves, each after a window of round trips: minutes, from what a new group begins with. */
const SETTLE_MS = 180_000
/** Between two kills: timing settles on what is measured, and the killed peer is a voter again. */
const CALM_MS = 5_000

export const failover: Bench = async ({ quick, say }) => {
  const rows = await simulated({ quick, say })
  const kills = quick ? 3 : 10
  for (const rttMs of quick ? [40] : RTTS_MS) {
    const sites = Array.from({ length: VOTERS }, (_, n) => ({ name: `site${n}`, peers: ['one'] }))
    const lab = await openLab({ sites, rttMs, rateMbit: RATE_MBIT }).catch((error: unknown) => error as Error)
    if (lab instanceof Error) return { rows, note: `simulated only: ${lab.message}`, impossible: true }
    if (lab.link === 'loopback') {
      await lab.close()
      return { rows, note: `simulated only, no link between sites here: ${lab.why}`, impossible: true }
    }
    const names = sites.map(({ name }) => name)
    const times = await leaderless(lab, names, { kills, settleMs: quick ? 0 : SETTLE_MS }, say)
    times.sort((a, b) => a - b)
    for (const [name, share] of [
      ['p50', 0.5],
      ['p99', 0.99],
    ] as const)
      rows.push(
        row({
          case: `${rttMs} ms RTT, ${VOTERS} voters, ${name}`,
          metric: 'leaderless_ms',
          value: times[Math.min(times.length - 1, Math.floor(times.length * share))] ?? null,
          unit: 'ms',
          better: 'lower',
        }),
      )
  }
  const settled = quick
    ? 'before timing has followed the links'
    : `${SETTLE_MS / 1_000} s after voters were elected`
  return {
    rows,
    note: `namespaces, ${RATE_MBIT} Mbit/s links; ${kills} kills of the leader each, ${settled}`,
  }
}

async function leaderless(
  lab: Lab,
  sites: readonly string[],
  { kills, settleMs }: { readonly kills: number; readonly settleMs: number },
  say: (line: string) => void,
): Promise<number[]> {
  const mesh = new Mesh()
  try {
    const peers: Peer[] = []
    for (const site of sites) {
      const [address, prefix] = [lab.address(site, 'one'), lab.exec(site, 'one')]
      peers.push(await mesh.peer(`${site}-one`, site, { address, prefix }))
    }
    await mesh.form(...peers)
    say('formed')
    await until(
      'five voters',
      async () => (await meshGroup(mesh, peers))?.voters.length === VOTERS,
      ELECTED_MS_MAX,
    )
    say('five voters')
    await sleep(settleMs)
    const times: number[] = []
    while (times.length < kills) {
      await sleep(CALM_MS)
      const leader = await leading(mesh, peers)
      if (leader === undefined) continue
      const killedMs = performance.now()
      await mesh.kill(leader)
      const rest = peers.filter((peer) => peer !== leader)
      times.push(await elected(mesh, rest, killedMs))
      say(`${leader.site} killed: ${times.at(-1)?.toFixed(0)} ms`)
      await mesh.up(leader)
      await until(
        'all to be voters again',
        async () => (await meshGroup(mesh, peers))?.voters.length === VOTERS,
        ELECTED_MS_MAX,
      )
    }
    return times
  } finally {
    await mesh.close()
    await lab.close()
  }
}

/** When the first of them says that it leads, in ms after `sinceMs`. */
async function elected(mesh: Mesh, peers: readonly Peer[], sinceMs: number): Promise<number> {
  while (performance.now() - sinceMs < FAILOVER_MS_MAX) {
    if ((await leading(mesh, peers)) !== undefined) return performance.now() - sinceMs
    await sleep(LOOK_MS)
  }
  throw new Error(`no leader ${FAILOVER_MS_MAX} ms after the old one was killed`)
}

async function leading(mesh: Mesh, peers: readonly Peer[]): Promise<Peer | undefined> {
  const groups = await Promise.all(peers.map((peer) => groupOf(mesh, peer)))
  return peers.find((_, n) => groups[n]?.role === 'leader')
}

async function meshGroup(mesh: Mesh, peers: readonly Peer[]): Promise<GroupView | undefined> {
  const leader = await leading(mesh, peers)
  return leader === undefined ? undefined : groupOf(mesh, leader)
}

async function groupOf(mesh: Mesh, peer: Peer): Promise<GroupView | undefined> {
  const groups = await mesh.try<GroupView[]>(peer, 'raft.list')
  return groups.ok ? groups.value.find(({ group }) => group === 'mesh') : undefined
}
