/** What every directory promises (protocols/directory.ts). `open` opens that many peers, each connected with all others. */
import test, { type ExecutionContext } from 'ava'
import type { Directory } from '../../protocols/directory.ts'
import type { PeerId } from '../../protocols/ids.ts'
import { outcomeOf, type Until } from './until.ts'

export type Opened = {
  readonly peers: readonly { readonly self: PeerId; readonly directory: Directory }[]
  readonly until: Until
  close(): Promise<void>
}

const KEY = 'a'.repeat(64)
const OTHER = 'b'.repeat(64)

const inOrder = (peers: PeerId[]): PeerId[] => peers.sort((a, b) => (a < b ? -1 : 1))

async function find(opened: Opened, peer: number, key: string, limit: number, ms = 2_000): Promise<PeerId[]> {
  const { directory } = opened.peers[peer] as Opened['peers'][number]
  const outcome = await outcomeOf<PeerId[]>(opened.until, (done) => directory.find(key, limit, ms, done))
  if (!outcome.ok) throw new Error(outcome.failure.code)
  return outcome.value
}

/** What a provider says spreads in its own time: asks until `count` are found. */
async function findAll(opened: Opened, peer: number, key: string, count: number): Promise<PeerId[]> {
  for (let attempt = 0; attempt < 20; attempt++) {
    const found = await find(opened, peer, key, 16)
    if (found.length >= count) return inOrder(found)
    await opened.until(() => false, 200).catch(() => {})
  }
  throw new Error(`not ${count} providers found`)
}

export function contract(name: string, open: (t: ExecutionContext, peers: number) => Promise<Opened>): void {
  test.serial(`${name}: finds who provides a key, itself left out, up to the limit`, async (t) => {
    const opened = await open(t, 4)
    try {
      const [a, b, c, d] = opened.peers.map(({ self }) => self) as [PeerId, PeerId, PeerId, PeerId]
      opened.peers[0]?.directory.provide(KEY)
      opened.peers[1]?.directory.provide(KEY)
      opened.peers[2]?.directory.provide(OTHER)
      t.deepEqual(await findAll(opened, 3, KEY, 2), inOrder([a, b]))
      t.deepEqual(await findAll(opened, 0, KEY, 1), [b])
      t.deepEqual(await findAll(opened, 3, OTHER, 1), [c])
      t.is((await find(opened, 3, KEY, 1)).length, 1)
      t.false((await find(opened, 2, OTHER, 16)).includes(c))
      t.false((await find(opened, 2, KEY, 16)).includes(d))
    } finally {
      await opened.close()
    }
  })

  test.serial(`${name}: finds nobody in the time it was given, when nobody provides`, async (t) => {
    const opened = await open(t, 2)
    try {
      opened.peers[0]?.directory.provide(KEY)
      opened.peers[0]?.directory.withdraw(OTHER)
      t.deepEqual(await find(opened, 1, OTHER, 16, 500), [])
      t.deepEqual(await findAll(opened, 1, KEY, 1), [opened.peers[0]?.self])
    } finally {
      await opened.close()
    }
  })

  test.serial(`${name}: finds nobody when it is alone`, async (t) => {
    const opened = await open(t, 1)
    try {
      opened.peers[0]?.directory.provide(KEY)
      t.deepEqual(await find(opened, 0, KEY, 16, 300), [])
    } finally {
      await opened.close()
    }
  })
}
