/**
 * Disks as QEMU reads them: a qemu-nbd of our own for each, which lives as long as its export is open, and dies with this
 * process. The client is storage/nbd/client.ts.
 */
import { spawn } from 'node:child_process'
import { mkdtemp, open, rm } from 'node:fs/promises'
import { join } from 'node:path'
import { setTimeout as sleep } from 'node:timers/promises'
import { GodwitError } from '../../protocols/errors.ts'
import { PARTIAL } from '../../storage/files/durable.ts'
import { connectNbd, type NbdExport } from '../../storage/nbd/client.ts'
import { missing } from './tools.ts'

/** qemu-nbd opens the image before it answers. */
const OPEN_MS = 15_000
const POLL_MS = 5

type Exported = {
  /** For qemu-nbd: the disk, and how it is to be read. */
  readonly args: readonly string[]
  /** For people: which disk. */
  readonly at: string
  readonly contexts: readonly string[]
  /** Where the socket's folder is made; whoever clears this place after a crash knows it by PARTIAL in its name. */
  readonly place: string
  /** What is thrown when somebody writes to the disk, and when it cannot be opened. */
  inUse(): GodwitError
  refused(why: string): GodwitError
}

/** Opens a disk for reading. */
export async function openExport(disk: Exported): Promise<NbdExport> {
  const { at, contexts } = disk
  const folder = await mkdtemp(join(disk.place, `nbd${PARTIAL}-`))
  // A socket's path has at most 107 bytes, and a data folder's may have more: both ends name the folder by what they hold.
  const held = await open(folder, 'r')
  const socketPath = `/proc/self/fd/${held.fd}/nbd`
  const args = ['--read-only', '--socket=/proc/self/cwd/nbd', ...disk.args]
  const server = spawn('setpriv', ['--pdeathsig', 'KILL', 'qemu-nbd', ...args], {
    cwd: folder,
    stdio: ['ignore', 'ignore', 'pipe'],
    env: { ...process.env, LC_ALL: 'C' },
  })
  let said = ''
  let ended = false
  const gone = new Promise<void>((resolve) => {
    server.on('close', () => {
      ended = true
      resolve()
    })
  })
  server.on('error', (error) => (said = error.message))
  server.stderr.on('data', (data: Buffer) => (said = `${said}${data.toString()}`.slice(-2000)))

  let opened: NbdExport | undefined
  const close = async (): Promise<void> => {
    await opened?.close()
    server.kill('SIGKILL')
    await gone
    await held.close()
    await rm(folder, { recursive: true, force: true })
  }
  try {
    const deadline = performance.now() + OPEN_MS
    while (opened === undefined) {
      if (ended) throw refusal(said, disk)
      if (performance.now() > deadline)
        throw new GodwitError({ code: 'TIMEOUT', what: 'qemu-nbd', afterMs: OPEN_MS })
      opened = await connectNbd({ at, socketPath, name: '', contexts }).catch(async (error: unknown) => {
        if (isNotThereYet(error)) return sleep(POLL_MS, undefined)
        // It listens before it opens the image: when it hangs up, its last words say why.
        await Promise.race([gone, sleep(OPEN_MS, undefined, { ref: false })])
        throw ended && said !== '' ? refusal(said, disk) : error
      })
    }
    return { ...opened, close }
  } catch (error) {
    await close()
    throw error
  }
}

const isNotThereYet = (error: unknown): boolean =>
  ['ENOENT', 'ECONNREFUSED'].includes((error as NodeJS.ErrnoException).code ?? '')

function refusal(said: string, disk: Exported): GodwitError {
  if (/ENOENT|No such file or directory\b.*qemu-nbd|failed to execute/.test(said)) return missing('qemu-nbd')
  if (/Failed to get .* lock/.test(said)) return disk.inUse()
  const why = (said.trim().split('\n').at(-1) ?? '').replace('qemu-nbd: ', '')
  return disk.refused((why || 'qemu-nbd does not open it').slice(0, 300))
}
