/**
 * The network by itself: heartbeats, gossip and requests over sites that are cut off and come back, and hosts that lose
 * power. Everyone must be connected again at the end, and what was said last must have reached everybody.
 */
import type { PeerId } from '../../protocols/ids.ts'
import { ok } from '../../protocols/outcome.ts'
import { SimNetwork, type SimPeer } from '../network.ts'
import { type Scenario, Violation } from '../scenario.ts'
import type { World } from '../world.ts'

const SITE_PEERS = 10
const HEARTBEAT_MS = 500
const NEWS_MS = 5_000

export const links: Scenario = {
  name: 'links',
  summary: 'heartbeats, gossip and requests while sites are cut off and hosts lose power',
  virtualMs: 60_000,
  peers: 50,
  moments: ['site-cut', 'site-back', 'host-dark', 'host-back', 'connection-lost', 'request-failed'],

  run(world, count, moment) {
    const network = new SimNetwork(world)
    const ids = Array.from({ length: count }, (_, n) => `peer${String(n).padStart(4, '0')}`)
    const peers = new Map<PeerId, SimPeer>()
    const heard = new Map<PeerId, number>()
    const start = (id: PeerId): void => {
      const peer = network.join(id, `site${Math.floor(ids.indexOf(id) / SITE_PEERS)}`)
      peers.set(id, peer)
      talk(world, peer, ids, { moment, heard: (news) => heard.set(id, news) })
    }
    ids.forEach(start)

    const dice = world.random('nemesis')
    const site = peers.get(dice.pick(ids))?.site ?? ''
    world.after(12_000 + dice.below(5_000), () => {
      network.cutSite(site)
      moment('site-cut')
    })
    world.after(32_000, () => {
      network.heal()
      moment('site-back')
    })
    const dark = dice.pick(ids)
    world.after(15_000 + dice.below(5_000), () => {
      network.crash(dark, 'power')
      moment('host-dark')
    })
    world.after(25_000 + dice.below(5_000), () => {
      start(dark)
      moment('host-back')
    })
    return {
      end: () => {
        for (const { id, transport } of peers.values()) {
          const lacks = ids.filter((other) => other !== id && !transport.connected().includes(other))
          if (lacks.length > 0) throw new Violation('connected', `${id} is not with ${lacks.join(', ')}`)
          if ((heard.get(id) ?? 0) < world.nowMs - 2 * NEWS_MS)
            throw new Violation('gossip', `${id} hears no news`)
        }
      },
      counts: () => network.counts,
    }
  },
}

type Told = { moment: (name: string) => void; heard: (newsMs: number) => void }

/** What a peer says all day. */
function talk(world: World, peer: SimPeer, ids: readonly PeerId[], told: Told): void {
  const { id, transport, broadcast, life } = peer
  const dice = world.random(`talk ${id} ${world.nowMs}`)
  const others = ids.filter((other) => other !== id)
  transport.serve('beat', { frame: () => {} })
  transport.serve('ask', { request: (_, frame, reply) => reply(ok(frame)) })
  transport.watch((_, up) => up || told.moment('connection-lost'))
  broadcast.subscribe('news', (_, frame) => {
    told.heard(Number(Buffer.from(frame).toString()))
    return 'accept'
  })
  transport.allow(new Map(others.map((other) => [other, []])))

  const every = (ms: number, run: () => void): void => {
    const again = (): void => {
      run()
      life.clock.after(ms, again)
    }
    life.clock.after(dice.below(ms), again)
  }
  every(HEARTBEAT_MS, () => {
    for (let n = 0; n < 4; n++) transport.send(dice.pick(others), 'beat', Buffer.alloc(60), { dial: false })
  })
  every(HEARTBEAT_MS * 2, () =>
    transport.request(
      dice.pick(others),
      'ask',
      Buffer.alloc(40),
      1_000,
      (outcome) => outcome.ok || told.moment('request-failed'),
    ),
  )
  every(NEWS_MS, () => broadcast.publish('news', Buffer.from(String(world.nowMs))))
}
