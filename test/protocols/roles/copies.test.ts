import test from 'ava'
import { COPY_LOST_MS, keepersOf, type Offer } from '../../../protocols/roles/copies.ts'
import { STABLE_MS } from '../../../protocols/roles/plan.ts'

const SELF = 'a1'
const offer = (peer: string, with_: Partial<Offer> = {}): Offer => ({
  peer,
  site: peer.slice(0, 1),
  uplink: peer.slice(0, 1),
  uptimeMs: 3_600_000,
  power: 'mains',
  rttMs: { [SELF]: 40 },
  draining: false,
  reachable: true,
  forMs: 60_000,
  hasRoom: true,
  ...with_,
})
const near = { rttMs: { [SELF]: 5 } }
const lost = (forMs: number): Partial<Offer> => ({ reachable: false, forMs, hasRoom: false })

const rows: readonly (readonly [what: string, current: string, offers: readonly Offer[], keepers: string])[] =
  [
    ['nobody else', '', [], ''],
    ['one other site', '', [offer('b1'), offer('b2')], 'b1'],
    ['two of three sites, the best', '', [offer('b1'), offer('c1', near), offer('d1', near)], 'c1 d1'],
    ['one each of two sites', '', [offer('b1', near), offer('b2', near), offer('c1')], 'b1 c1'],
    ['one uplink each', '', [offer('b1', near), offer('c1', { ...near, uplink: 'b' }), offer('d1')], 'b1 d1'],
    [
      'not behind the own line',
      '',
      [offer('b1'), offer('c1', { ...near, uplink: 'a' }), offer('d1')],
      'b1 d1',
    ],
    ['behind the own line rather than nowhere', '', [offer('b1'), offer('c1', { uplink: 'a' })], 'b1 c1'],
    ['behind one line rather than one copy', '', [offer('b1'), offer('c1', { uplink: 'b' })], 'b1 c1'],
    ['not yet stable', '', [offer('b1'), offer('c1', { forMs: STABLE_MS - 1 })], 'b1'],
    ['no room', '', [offer('b1'), offer('c1', { hasRoom: false })], 'b1'],
    ['draining', '', [offer('b1'), offer('c1', { draining: true })], 'b1'],
    ['a better one is no reason', 'b1 c1', [offer('b1'), offer('c1'), offer('d1', near)], 'b1 c1'],
    ['out of sight for a while', 'b1 c1', [offer('b1'), offer('c1', lost(1_000)), offer('d1')], 'b1 c1'],
    ['out of sight for long', 'b1 c1', [offer('b1'), offer('c1', lost(COPY_LOST_MS)), offer('d1')], 'b1 d1'],
    ['out of sight, and nobody else', 'b1 c1', [offer('b1'), offer('c1', lost(COPY_LOST_MS))], 'b1 c1'],
    ['begins to drain', 'b1 c1', [offer('b1'), offer('c1', { draining: true }), offer('d1')], 'b1 d1'],
    ['removed', 'b1 c1', [offer('b1'), offer('d1')], 'b1 d1'],
  ]

for (const [what, current, offers, keepers] of rows)
  test(`copies: ${what}`, (t) => {
    const look = { current: current.split(' ').filter(Boolean), offers, self: SELF, uplink: 'a' }
    t.is(keepersOf(look).join(' '), keepers)
    // Asked again with what was chosen, nothing changes.
    const again = keepersOf({ ...look, current: keepers.split(' ').filter(Boolean) })
    t.is(again.join(' '), keepers)
  })
