/**
 * Which driver runs guests on this host, found by running one: /dev/kvm may be there and still not run a guest, or run
 * it thirty times slower than TCG does (nested and para-virtual hosts). The answer holds for this boot and this QEMU.
 */
import { spawn } from 'node:child_process'
import { constants } from 'node:fs'
import { access, mkdtemp, readFile, rm, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { z } from 'zod'
import { failureOf } from '../../protocols/errors.ts'
import { writeWhole } from '../../storage/files/durable.ts'
import { MACHINE_TYPE, type Accelerator } from './command-line.ts'
import { complaint, run } from './tools.ts'

export type Probed = {
  readonly driver: Accelerator | 'none'
  /** Why not the better one; empty when it is. */
  readonly why: string
}

/** A guest under TCG says its byte within this, or nothing runs here. It takes 0.1 s on an idle host. */
const TCG_MS = 3_000
/** KVM gets this many times what TCG took, at least KVM_MS_MIN: one that is slower is worse than none. */
const KVM_SLOWER_MAX = 4
const KVM_MS_MIN = 1_000
const VERSION_MS = 10_000

const cacheSchema = z.object({
  boot: z.string(),
  version: z.string(),
  driver: z.enum(['kvm', 'tcg', 'none']),
  why: z.string(),
})

type ProbeOptions = {
  /** Told why guests do not run as well as they might; not when that is known from before. */
  readonly note?: (text: string) => void
  /** Ends what is tried; what it says then is not kept. */
  readonly signal?: AbortSignal
}

/**
 * Takes a second and more where KVM is there and does not work, tens of milliseconds when the answer is known.
 *
 * @param cache File that keeps the answer; made again for another boot or another QEMU.
 */
export async function probe(cache: string, { note, signal }: ProbeOptions = {}): Promise<Probed> {
  let version: string
  try {
    const ran = await run('qemu-system-x86_64', ['--version'], VERSION_MS)
    if (ran.code !== 0) return { driver: 'none', why: complaint('qemu-system-x86_64', ran) }
    version = ran.stdout.split('\n')[0] ?? ''
  } catch (error) {
    return { driver: 'none', why: (error as Error).message }
  }
  const boot = (await readFile('/proc/sys/kernel/random/boot_id', 'utf8')).trim()
  const known = await readCache(cache)
  if (known?.boot === boot && known.version === version) return { driver: known.driver, why: known.why }

  const probed = await tryDrivers(signal)
  if (signal?.aborted === true) return probed
  if (probed.why !== '') note?.(`guests run under ${probed.driver}: ${probed.why}`)
  // Only an answer is kept: what failed for want of memory or disk may work the next time.
  if (probed.driver !== 'none') {
    const text = JSON.stringify({ boot, version, ...probed })
    await writeWhole(cache, async (file) => file.writeFile(text)).catch(() => {})
  }
  return probed
}

async function tryDrivers(signal: AbortSignal | undefined): Promise<Probed> {
  let folder: string | undefined
  try {
    folder = await mkdtemp(join(tmpdir(), 'godwit-probe-'))
    const disk = join(folder, 'disk.raw')
    await writeFile(disk, probeDisk())
    const tcg = await speaks('tcg', disk, TCG_MS, signal)
    if ('why' in tcg) return { driver: 'none', why: tcg.why }
    try {
      await access('/dev/kvm', constants.R_OK | constants.W_OK)
    } catch (error) {
      return { driver: 'tcg', why: `/dev/kvm: ${(error as NodeJS.ErrnoException).code ?? 'unusable'}` }
    }
    const kvm = await speaks('kvm', disk, Math.max(KVM_MS_MIN, tcg.ms * KVM_SLOWER_MAX), signal)
    if ('why' in kvm)
      return { driver: 'tcg', why: `KVM does not run what TCG boots in ${tcg.ms} ms: ${kvm.why}` }
    return { driver: 'kvm', why: '' }
  } catch (error) {
    return { driver: 'none', why: JSON.stringify(failureOf(error)) }
  } finally {
    if (folder !== undefined) await rm(folder, { recursive: true, force: true })
  }
}

/** A disk (the BIOS takes none that is smaller than a cylinder) whose boot sector writes `!` to COM1 and sleeps. */
function probeDisk(): Uint8Array {
  const disk = Buffer.alloc(1024 * 1024)
  const code = [
    [0xba, 0xf8, 0x03], // mov dx, 0x3f8
    [0xb0, 0x21, 0xee], // mov al, '!'; out dx, al
    [0xf4, 0xeb, 0xfd], // hlt; jmp to the hlt
  ]
  disk.set(code.flat())
  disk.writeUInt16LE(0xaa55, 510)
  return disk
}

/** How long a guest took to say its byte, or why it did not. */
function speaks(
  driver: Accelerator,
  disk: string,
  limitMs: number,
  signal: AbortSignal | undefined,
): Promise<{ ms: number } | { why: string }> {
  const options = [
    ['-machine', `${MACHINE_TYPE},accel=${driver}`, '-cpu', 'qemu64', '-m', '16M'],
    ['-nodefaults', '-no-user-config', '-display', 'none'],
    ['-drive', `file=${disk},format=raw,if=virtio`],
    ['-chardev', 'stdio,id=serial0,signal=off', '-serial', 'chardev:serial0'],
  ]
  return new Promise((resolve) => {
    const began = performance.now()
    const guest = spawn('qemu-system-x86_64', options.flat(), {
      stdio: ['pipe', 'pipe', 'pipe'],
      ...(signal !== undefined && { signal, killSignal: 'SIGKILL' }),
    })
    let said = ''
    let spoke: { ms: number } | undefined
    const timer = setTimeout(() => guest.kill('SIGKILL'), limitMs)
    guest.stderr.on('data', (data: Buffer) => (said = `${said}${data.toString()}`.slice(-1000)))
    guest.stdout.on('data', (data: Buffer) => {
      if (!data.includes('!')) return
      spoke ??= { ms: Math.round(performance.now() - began) }
      guest.kill('SIGKILL')
    })
    guest.on('error', (error) => (said = error.message))
    guest.on('close', () => {
      clearTimeout(timer)
      const line =
        said
          .trim()
          .split('\n')
          .findLast((each) => !each.includes('warning:')) ?? ''
      resolve(spoke ?? { why: line || `no sign of life in ${limitMs} ms` })
    })
  })
}

async function readCache(path: string): Promise<z.infer<typeof cacheSchema> | undefined> {
  try {
    return cacheSchema.parse(JSON.parse(await readFile(path, 'utf8')))
  } catch {
    return undefined
  }
}
