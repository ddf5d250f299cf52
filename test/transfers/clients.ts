/**
 * Stock BitTorrent clients for tests of the gateway, and a tracker of a few lines that brings them together. Debian's packages,
 * installed when they are missing and that can be done.
 */
import { type ChildProcess, execFileSync, spawn, spawnSync } from 'node:child_process'
import { createServer } from 'node:http'
import type { AddressInfo } from 'node:net'
import { existsSync } from 'node:fs'
import type { ExecutionContext } from 'ava'
import { encode } from '../../migration/torrent/bencode.ts'

const CLIENTS = ['aria2c', 'transmission-cli', 'transmission-create']

/** Why they cannot be had; undefined when they are here. */
export function missingClients(): string | undefined {
  const missing = (): string[] => CLIENTS.filter((tool) => spawnSync(tool, ['--version']).error !== undefined)
  if (missing().length > 0 && process.getuid?.() === 0 && existsSync('/usr/bin/apt-get'))
    spawnSync('apt-get', ['install', '-y', '-qq', '--no-install-recommends', 'aria2', 'transmission-cli'])
  const still = missing()
  return still.length === 0 ? undefined : `${still.join(', ')} missing (Debian: aria2, transmission-cli)`
}

type Terms = { readonly folder: string; readonly home: string; readonly port: number }

/** Runs until the test ends, or is told to. */
function run(t: ExecutionContext, tool: string, args: readonly string[], home: string): ChildProcess {
  const child = spawn(tool, args, { stdio: 'ignore', env: { ...process.env, HOME: home } })
  t.teardown(() => child.kill('SIGKILL'))
  return child
}

/** Fetches, or serves what lies in `folder`; no peers but those of trackers. */
export const aria2 = (
  t: ExecutionContext,
  torrent: string,
  { folder, home, port }: Terms,
  more: readonly string[] = [],
): ChildProcess =>
  run(
    t,
    'aria2c',
    [
      '--no-conf',
      '--enable-dht=false',
      '--enable-dht6=false',
      '--bt-enable-lpd=false',
      '--enable-peer-exchange=false',
      '--check-integrity=true',
      '--seed-ratio=0.0',
      '--allow-overwrite=true',
      `--dir=${folder}`,
      `--listen-port=${port}`,
      ...more,
      torrent,
    ],
    home,
  )

export const transmission = (
  t: ExecutionContext,
  torrent: string,
  { folder, home, port }: Terms,
  more: readonly string[] = [],
): ChildProcess =>
  run(
    t,
    'transmission-cli',
    ['--no-portmap', '-w', folder, '-g', home, '-p', String(port), ...more, torrent],
    home,
  )

export const createTorrent = (path: string, torrent: string, more: readonly string[] = []): void =>
  void execFileSync('transmission-create', ['-o', torrent, ...more, path], { stdio: 'ignore' })

export type Tracker = { readonly url: string; readonly announced: ReadonlySet<string> }

/** Tells everybody of everybody (BEP 3, and 23: six bytes for each). */
export async function openTracker(t: ExecutionContext): Promise<Tracker> {
  const peers = new Map<string, Uint8Array>()
  const announced = new Set<string>()
  const server = createServer((request, response) => {
    const asked = new URL(request.url ?? '/', 'http://tracker').searchParams
    const port = Number(asked.get('port'))
    announced.add(asked.get('peer_id') ?? '')
    if (port > 0) peers.set(String(port), Uint8Array.from([127, 0, 0, 1, port >> 8, port & 255]))
    response.end(encode({ interval: 5, 'min interval': 1, peers: Buffer.concat([...peers.values()]) }))
  })
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve))
  t.teardown(() => server.close())
  return { url: `http://127.0.0.1:${(server.address() as AddressInfo).port}/announce`, announced }
}
