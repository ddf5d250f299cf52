/** What a download costs two real peers: processes of two sites with a slow link between (test/lab). */
import { mkdir, rm } from 'node:fs/promises'
import { join } from 'node:path'
import { newPrivateKey } from '../../../protocols/libp2p/identity.ts'
import { type Lab, openLab } from '../../lab/lab.ts'
import { Child } from '../child.ts'
import type { Pair } from './pairs.ts'
import type { Orders } from './peer.ts'

export type Cost = {
  /** Of the channels, both ways, without TLS and TCP: as the others are counted. */
  readonly wireBytes: number
  /** What crossed the link in IP packets, both ways, with the handshakes of TLS and libp2p. */
  readonly linkBytes: number
  /** Content of chunks that were not held, and of these what blocks of held images and zeros gave. */
  readonly dedupBytes: number
  readonly matchedBytes: number
  readonly seconds: number
  /** Of both, from the order to the end. */
  readonly cpuSeconds: number
  /** The larger of the two, at any time. */
  readonly rssBytes: number
}

const PROGRAM = join(import.meta.dirname, 'peer.ts')
const START_MS = 300_000
const PATIENCE_MS = 600_000
const [SOURCE, PEER] = ['source', 'peer'] as const

/** A link on which the second level is worth most. */
export async function openWan(rateMbit: number, rttMs: number): Promise<Lab | string> {
  const sites = [SOURCE, PEER].map((name) => ({ name, peers: [name] }))
  const lab = await openLab({ sites, rttMs, rateMbit }).catch((error: unknown) => (error as Error).message)
  if (typeof lab === 'string' || lab.link !== 'loopback') return lab
  await lab.close()
  return `no link between sites here: ${lab.why}`
}

/** The source holds all images of the pair, the downloader what is held. */
export async function download(lab: Lab, { held, target }: Pair, folder: string): Promise<Cost> {
  const children: Child[] = []
  const start = async (name: string, files: readonly string[]) => {
    const home = join(folder, `ours-${name}`)
    await mkdir(home)
    const key = Buffer.from(newPrivateKey()).toString('hex')
    const [command, ...prefix] = [...lab.exec(name, name), process.execPath]
    const args = [...prefix, '--max-semi-space-size=2', PROGRAM, home, key, lab.address(name, name), ...files]
    const child = new Child(command, args)
    children.push(child)
    const hello = await child.next(START_MS)
    return {
      child,
      peer: hello['peer'] as string,
      addresses: hello['addresses'] as string[],
      image: hello['image'],
    }
  }
  try {
    const source = await start(SOURCE, [...held, target])
    const peer = await start(PEER, held)
    const peers = { [source.peer]: source.addresses, [peer.peer]: peer.addresses }
    const tell = ({ child }: { child: Child }, orders: Orders): void =>
      void child.process.stdin?.write(`${JSON.stringify(orders)}\n`)
    tell(source, { peers })
    const before = await crossed(lab)
    tell(peer, { peers, image: source.image as string, sources: [source.peer] })
    const said = await peer.child.next(PATIENCE_MS)
    const linkBytes = (await crossed(lab)) - before
    const ends = [await peer.child.end(), await source.child.end()]
    return {
      wireBytes: said['wireBytes'] as number,
      linkBytes,
      dedupBytes: said['dedupBytes'] as number,
      matchedBytes: said['matchedBytes'] as number,
      seconds: (said['ms'] as number) / 1_000,
      cpuSeconds: ends.reduce((sum, end) => sum + (end['cpu'] as number), 0),
      rssBytes: Math.max(...ends.map((end) => end['rssBytes'] as number)),
    }
  } finally {
    for (const child of children) child.kill()
    for (const name of [SOURCE, PEER])
      await rm(join(folder, `ours-${name}`), { recursive: true, force: true })
  }
}

async function crossed(lab: Lab): Promise<number> {
  const stats = (await lab.stats())[PEER]
  return stats === undefined ? 0 : stats.in.bytes + stats.out.bytes
}
