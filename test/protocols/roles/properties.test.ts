/** What must hold of any group, whatever it looks like and whatever happens to it: generated hosts, sites, uplinks, moods. */
import { fc, testProp } from '@fast-check/ava'
import test from 'ava'
import { mostOf, roomFor } from '../../../protocols/roles/spread.ts'
import { type Host, host, ModelGroup } from './group.ts'

const placeArb = fc.record({
  site: fc.constantFrom('a', 'b', 'c', 'd', 'e', 'f'),
  uplink: fc.constantFrom('u', 'v', 'w', 'x', 'y', 'z'),
})
const hostArb = fc.record({
  place: placeArb,
  ownUplink: fc.boolean(),
  uptimeMs: fc.integer({ min: 0, max: 2 * 86_400_000 }),
  reachable: fc.boolean(),
  power: fc.constantFrom('mains' as const, 'battery' as const),
  rtt: fc.integer({ min: 1, max: 300 }),
  noVote: fc.integer({ min: 0, max: 9 }).map((n) => n === 0),
  slow: fc.integer({ min: 0, max: 9 }).map((n) => n === 0),
})
const groupArb = fc.record({
  hosts: fc.array(hostArb, { minLength: 1, maxLength: 12 }),
  voters: fc.integer({ min: 1, max: 7 }),
  site: fc.boolean(),
  keepsAll: fc.boolean(),
})

type Terms = typeof groupArb extends fc.Arbitrary<infer T> ? T : never

function groupOf({ hosts, voters, site, keepsAll }: Terms): ModelGroup {
  const all: Host[] = hosts.map(({ place, ownUplink, rtt, ...rest }, n) =>
    host(`p${String(n).padStart(2, '0')}`, site ? 'a' : place.site, {
      ...rest,
      uplink: ownUplink ? place.site : place.uplink,
      rttMs: Object.fromEntries(hosts.map((other, m) => [`p${String(m).padStart(2, '0')}`, rtt + other.rtt])),
    }),
  )
  const first = all.slice(0, voters).map(({ peer }) => peer)
  return new ModelGroup(site ? 'site' : 'mesh', all, first, keepsAll)
}

/** The voters' fullest site must not hold a majority when there are three sites to choose from, whoever is in sight. */
function behindOne(group: ModelGroup): 'site' | 'uplink' | undefined {
  const eligible = [...group.hosts.values()].filter(({ noVote, slow }) => !noVote && !slow)
  const places = group.voters.map((peer) => group.hosts.get(peer) as Host)
  if (group.kind === 'site' || eligible.some(({ reachable }) => !reachable)) return undefined
  for (const by of ['site', 'uplink'] as const) {
    const most = mostOf(places, by)
    const three = new Set(eligible.map((each) => each[by])).size >= 3
    const caps = { site: 1, uplink: by === 'uplink' ? 1 : Infinity }
    const sites = new Set(eligible.map((each) => each.site)).size
    const avoidable = three && sites >= 3 && roomFor(eligible, [], caps, 3) === 3
    if (avoidable && most * 2 > places.length) return by
  }
  return undefined
}

testProp(
  'from any state it converges, keeps a majority in sight on the way, and is then quiet',
  [groupArb],
  (t, terms) => {
    const group = groupOf(terms)
    const faults: string[] = []
    group.onChange = (before, after, why) => {
      const live = (list: readonly string[]): boolean =>
        list.filter((peer) => group.hosts.get(peer)?.reachable).length * 2 > list.length
      if (live(before) && !live(after)) faults.push(`${why}: ${after.join(' ')} has no majority in sight`)
      if (after.length > 7) faults.push(`${why}: ${after.length} voters`)
    }
    const wasQuorate = group.quorate
    // Every patience may have to run out, twice: for a replacement of a replacement.
    const effects = group.run(1_500_000)
    t.deepEqual(faults, [])
    t.true(effects <= 40, `${effects} effects: ${group.said.join('\n')}`)
    if (!wasQuorate) return
    const slow = [...group.hosts.values()].some((each) => each.slow)
    // Who never catches up is tried again now and then.
    if (!slow) t.is(group.run(400_000), 0, group.said.join('\n'))
    if (!slow) t.is(behindOne(group), undefined, `${group.voters.join(' ')}\n${group.said.join('\n')}`)
  },
  { numRuns: 60 },
)

testProp(
  'whatever flaps, drains, is removed or fails in between: a majority stays in sight of each change',
  [
    groupArb,
    fc.array(
      fc.tuple(
        fc.nat(),
        fc.constantFrom('flip', 'drain', 'leave', 'vote', 'remove', 'lose'),
        fc.integer({ min: 1, max: 60 }),
      ),
      { maxLength: 30 },
    ),
  ],
  (t, terms, happenings) => {
    const group = groupOf(terms)
    const faults: string[] = []
    group.onChange = (before, after, why) => {
      const live = after.filter((peer) => group.hosts.get(peer)?.reachable)
      if (group.quorate && live.length * 2 <= after.length)
        faults.push(`${why}: ${before.join(' ')} > ${after.join(' ')}`)
    }
    for (const [at, what, seconds] of happenings) {
      const peers = [...group.hosts.keys()]
      const peer = peers[at % peers.length] as string
      const { reachable, draining, leaving, noVote } = group.hosts.get(peer) as Host
      group.lets = () => true
      if (what === 'flip') group.set(peer, { reachable: !reachable })
      else if (what === 'drain') group.set(peer, { draining: !draining })
      else if (what === 'leave') group.set(peer, { leaving: !leaving })
      else if (what === 'vote') group.set(peer, { noVote: !noVote })
      else if (what === 'remove' && group.leader !== peer) group.set(peer, { removed: true })
      else group.lets = () => false
      group.run(seconds * 1_000)
    }
    t.deepEqual(faults, [])
  },
  { numRuns: 100 },
)

testProp(
  'as many are chosen as any choice could hold',
  [fc.array(placeArb, { maxLength: 9 }), fc.integer({ min: 1, max: 3 }), fc.integer({ min: 1, max: 3 })],
  (t, places, site, uplink) => {
    let best = 0
    for (let set = 0; set < 2 ** places.length; set++) {
      const some = places.filter((_, n) => (set >> n) & 1)
      if (mostOf(some, 'site') <= site && mostOf(some, 'uplink') <= uplink) best = Math.max(best, some.length)
    }
    t.is(roomFor(places, [], { site, uplink }, 99), best)
  },
)

test('a pool of a hundred peers takes little time', (t) => {
  const all = Array.from({ length: 100 }, (_, n) =>
    host(`p${100 + n}`, `s${n % 40}`, { uplink: `u${n % 7}` }),
  )
  const group = new ModelGroup('mesh', all, ['p100'])
  const before = process.cpuUsage().user
  group.run(60_000)
  t.is(group.voters.length, 7)
  const msPerLook = (process.cpuUsage().user - before) / 1_000 / 60
  t.true(msPerLook < 50, `${msPerLook} ms`)
})
