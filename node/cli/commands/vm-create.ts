/** `vm create`: from a file or from flags to a spec; then, unless told otherwise, until the VM runs. */
import { readFileSync } from 'node:fs'
import { resolve } from 'node:path'
import { failureOf, GodwitError } from '../../../protocols/errors.ts'
import { SPEC_BYTES_MAX } from '../../../protocols/limits.ts'
import type { VmView } from '../../views.ts'
import type { Command } from '../command.ts'
import { usage } from '../failures.ts'
import type { Session } from '../session.ts'

export const vmCreate: Command = {
  name: 'vm create',
  summary: 'Create a VM from a spec in a file, or from flags',
  about: 'Waits until it runs. A site places it on the host with the least committed memory.',
  arguments: [
    {
      name: 'name',
      summary: 'name of the VM, unique in its site; may stand in the file instead',
      optional: true,
    },
  ],
  options: [
    { flags: '-f, --file <file>', summary: 'spec in YAML or JSON; - is standard input', complete: 'path' },
    {
      flags: '--image <image>',
      summary: 'image of a disk, the first is booted from',
      repeat: true,
      complete: 'image',
    },
    {
      flags: '--disk-size <size>',
      summary: 'size of the disk at the same place: 10GiB; the image’s otherwise',
      repeat: true,
    },
    { flags: '--memory <size>', summary: 'memory: 512MiB, 2GiB' },
    { flags: '--cpus <count>', summary: 'virtual CPUs' },
    {
      flags: '--nic <nic>',
      summary: 'network card: user, or bridge=NAME; either with ,mac=ADDRESS',
      repeat: true,
    },
    { flags: '--label <key=value>', summary: 'label that its host must carry', repeat: true },
    { flags: '--cpu-model <model>', summary: 'named CPU model of QEMU' },
    { flags: '--firmware <firmware>', summary: 'what the guest boots with', choices: ['bios', 'uefi'] },
    { flags: '--user-data <file>', summary: 'cloud-init user data', complete: 'path' },
    { flags: '--no-autostart', summary: 'do not start it when its host boots' },
    { flags: '--no-start', summary: 'do not start it now' },
    { flags: '--dry-run', summary: 'say where it would be placed, and do nothing' },
    { flags: '--detach', summary: 'do not wait until it runs' },
  ],
  examples: [
    ['vm create web --image debian-12 --memory 2GiB --cpus 2', 'from flags'],
    ['vm create -f web.yaml', 'from a file'],
    ['vm create -f web.yaml --dry-run', 'only where it would be placed'],
  ],
  timeout: '10m',
  run: create,
}

/** The decision of a leader, which may be a slow link away. */
const AGREE_MS = 30_000
const LOOK_MS = 250

async function create(session: Session): Promise<number> {
  const begun = session.io.nowMs()
  const startIt = session.values['start'] !== false
  const spec = session.text('file') === undefined ? fromFlags(session) : await fromFile(session)
  const dryRun = session.has('dryRun')
  const answered = await session.ask('vm.create', { spec, start: startIt, dryRun }, AGREE_MS)
  const { host, id, name } = answered.value as { host: string; id: string; name: string }
  if (dryRun) session.note(`${name} would be placed on ${host}`)
  else if (startIt && !session.has('detach')) await running(session, id, name, begun + session.timeoutMs)
  await session.show('vm-placement', answered)
  return 0
}

/** @throws GodwitError HYPERVISOR with its reason when it fails, TIMEOUT while it is still on its way. */
async function running(session: Session, id: string, name: string, endMs: number): Promise<void> {
  const { io } = session
  let said = ''
  for (;;) {
    const { value } = await session.ask('vm.show', { name: id }, AGREE_MS)
    const { state, why } = (value as { vm: VmView }).vm
    if (state === 'running') return
    if (state === 'failed') throw new GodwitError({ code: 'HYPERVISOR', vm: name, why })
    if (state !== said) session.note(`${name}: ${state}${why === '' ? '' : `, ${why}`}`)
    said = state
    if (io.nowMs() >= endMs) {
      session.note(`${name} is created and goes on; see godwit vm show ${name}`)
      throw new GodwitError({ code: 'TIMEOUT', what: `the start of ${name}`, afterMs: session.timeoutMs })
    }
    await io.sleep(LOOK_MS)
  }
}

/** Flags that only make sense without a file. */
const SPEC_FLAGS = [
  'image',
  'diskSize',
  'memory',
  'cpus',
  'nic',
  'label',
  'cpuModel',
  'firmware',
  'userData',
] as const

async function fromFile(session: Session): Promise<object> {
  const file = session.text('file') ?? ''
  const both = SPEC_FLAGS.find((flag) => session.values[flag] !== undefined)
  if (both !== undefined || session.values['autostart'] === false) {
    usage(`-f says the whole spec: put ${both ?? 'autostart'} into ${file}`)
  }
  const text = file === '-' ? await session.io.readAll(SPEC_BYTES_MAX) : read(resolve(session.io.cwd, file))
  if (text === undefined)
    throw new GodwitError({ code: 'FRAME_TOO_LARGE', bytes: SPEC_BYTES_MAX + 1, bytesMax: SPEC_BYTES_MAX })
  const { parseSpec } = await import('../../vm/parse.ts')
  const parsed = parseSpec(text, file === '-' ? 'stdin' : file)
  if (!parsed.ok) throw new GodwitError(parsed.failure)
  const { name } = session.words
  if (name !== undefined && name !== parsed.value.name) {
    usage(`${file} is the spec of ${parsed.value.name}, not of ${name}`)
  }
  return parsed.value
}

function fromFlags(session: Session): object {
  const name = session.words['name'] ?? usage('a VM needs a name, or -f FILE', 'godwit vm create --help')
  const images = session.list('image')
  if (images.length === 0) usage('--image is missing: a VM has a disk', 'godwit image list')
  const sizes = session.list('diskSize')
  if (sizes.length > images.length) usage('more --disk-size than --image')
  const cpus = session.text('cpus')
  if (cpus !== undefined && !/^\d{1,3}$/.test(cpus)) usage(`--cpus ${cpus}: write a number`)
  const userData = session.text('userData')
  const given = {
    memory: session.text('memory'),
    cpus: cpus === undefined ? undefined : Number(cpus),
    cpuModel: session.text('cpuModel'),
    firmware: session.text('firmware'),
    cloudInit: userData === undefined ? undefined : { userData: read(resolve(session.io.cwd, userData)) },
    autostart: session.values['autostart'] === false ? false : undefined,
  }
  return {
    name,
    disks: images.map((image, at) => ({ image, ...(sizes[at] !== undefined && { size: sizes[at] }) })),
    nics: session.list('nic').map((text) => nic(text)),
    labels: Object.fromEntries(session.list('label').map((text) => label(text))),
    ...Object.fromEntries(Object.entries(given).filter(([, value]) => value !== undefined)),
  }
}

function nic(text: string): object {
  const [kind = '', ...rest] = text.split(',')
  const options = Object.fromEntries(rest.map((each) => each.split('=', 2))) as Record<string, string>
  const bridge = /^bridge=(.+)$/.exec(kind)?.[1]
  const unknown = Object.keys(options).find((key) => key !== 'mac')
  if ((kind !== 'user' && bridge === undefined) || unknown !== undefined) {
    usage(`--nic ${text}: write user or bridge=NAME, and mac=ADDRESS after a comma`)
  }
  const { mac } = options
  return { kind: bridge === undefined ? 'user' : 'bridge', ...(bridge && { bridge }), ...(mac && { mac }) }
}

function label(text: string): [string, string] {
  const at = text.indexOf('=')
  return at < 1 ? usage(`--label ${text}: write key=value`) : [text.slice(0, at), text.slice(at + 1)]
}

function read(path: string): string {
  try {
    return readFileSync(path, 'utf8')
  } catch (error) {
    throw new GodwitError(failureOf(error), { cause: error })
  }
}
