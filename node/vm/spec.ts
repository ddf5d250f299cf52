/**
 * VM spec v1: what a VM is, as an operator writes it (`vm create -f`, or flags) and as the site group keeps it. One
 * schema for both; docs and the OpenAPI document are printed from it.
 *
 * Sizes are kept in MiB. An operator may write them with a unit under a shorter key instead (SPEC_ALIASES): `memory: 2GiB`
 * is `memoryMiB: 2048`, `size: 10GiB` of a disk is `sizeMiB: 10240`; a bare number means MiB. Both at once are refused.
 */
import { z } from 'zod'
import { DISKS_MAX, IMAGE_BYTES_MAX, LABELS_MAX, NAME_LENGTH_MAX, NICS_MAX } from '../../protocols/limits.ts'

/** From the key that takes a unit to the key that is kept. */
export const SPEC_ALIASES = { memory: 'memoryMiB', size: 'sizeMiB' } as const

const MIB_OF: Readonly<Record<string, number>> = { MiB: 1, GiB: 1024, TiB: 1024 ** 2 }

/** Takes a size under `alias` for `schema`, which knows it in MiB under another key. */
const sized = <S extends z.ZodType>(alias: keyof typeof SPEC_ALIASES, schema: S) =>
  z.preprocess((value, context) => {
    if (typeof value !== 'object' || value === null || !Object.hasOwn(value, alias)) return value
    const { [alias]: written, ...rest } = value as Record<string, unknown>
    const key = SPEC_ALIASES[alias]
    const refuse = (message: string): unknown => {
      context.addIssue({ code: 'custom', path: [key], message })
      return value
    }
    if (Object.hasOwn(rest, key)) return refuse(`${alias} and ${key} say the same thing: write one`)
    const [, number, unit] = /^(\d{1,9}(?:\.\d{1,3})?) ?(MiB|GiB|TiB)?$/.exec(String(written)) ?? []
    const mib = Number(number) * (MIB_OF[unit ?? 'MiB'] ?? Number.NaN)
    if (!Number.isInteger(mib)) return refuse('a size is a number of MiB, or has a unit: 512MiB, 2GiB, 1TiB')
    return { ...rest, [key]: mib }
  }, schema)

const name = z
  .string()
  .max(NAME_LENGTH_MAX)
  .regex(/^[a-z0-9]([a-z0-9-]*[a-z0-9])?$/, 'a name is a-z, 0-9 and -, not at its ends')

const label = z
  .string()
  .max(NAME_LENGTH_MAX)
  .regex(/^[A-Za-z0-9_./-]+$/, 'a label is letters, digits and _ . / -')

const disk = z.strictObject({
  /** An image's name at this site, or its id. */
  image: z.string().min(1).max(64).describe('name or id of the image the disk starts from'),
  /** Grown to this; the image's own size when absent. */
  sizeMiB: z
    .int()
    .min(1)
    .max(IMAGE_BYTES_MAX / 1024 ** 2)
    .optional()
    .describe('size in MiB, or `size` with a unit; the image size when absent'),
})
const diskSpec = sized('size', disk)

const nicSpec = z.strictObject({
  kind: z
    .enum(['user', 'bridge'])
    .default('user')
    .describe('user: NAT by QEMU; bridge: a bridge of the host'),
  bridge: z.string().max(15).optional().describe('bridge to join, for kind bridge'),
  mac: z
    .string()
    .regex(/^([0-9a-f]{2}:){5}[0-9a-f]{2}$/, 'a MAC address is six pairs of hex digits in lower case')
    .optional()
    .describe('MAC address; made from the VM id when absent'),
})

const vm = z.strictObject({
  version: z.literal(1).default(1).describe('version of this schema'),
  name: name.describe('unique in its site'),
  cpus: z.int().min(1).max(256).default(1).describe('virtual CPUs'),
  cpuModel: z
    .string()
    .max(64)
    .regex(/^[A-Za-z0-9._-]+$/)
    .default('qemu64')
    .describe('named CPU model of QEMU'),
  memoryMiB: z
    .int()
    .min(16)
    .max(16 * 1024 * 1024)
    .default(512)
    .describe('memory in MiB, or `memory` with a unit'),
  firmware: z.enum(['bios', 'uefi']).default('bios').describe('firmware the guest boots with'),
  disks: z.array(diskSpec).min(1).max(DISKS_MAX).describe('disks, the first is booted from'),
  nics: z.array(nicSpec).max(NICS_MAX).default([]).describe('network cards'),
  cloudInit: z
    .strictObject({ userData: z.string().max(16_384), metaData: z.string().max(4_096).optional() })
    .optional()
    .describe('NoCloud seed'),
  autostart: z.boolean().default(true).describe('start when the host boots, if it was wanted running'),
  dependsOn: z.array(name).max(32).default([]).describe('VMs of this site that must run first'),
  labels: z
    .record(label, z.string().max(NAME_LENGTH_MAX))
    .default({})
    .refine((labels) => Object.keys(labels).length <= LABELS_MAX, `at most ${LABELS_MAX} labels`)
    .describe('labels a host must carry'),
  policy: z
    .enum(['autonomous', 'pinned'])
    .default('autonomous')
    .describe('who may ever take this VM (DESIGN section 3)'),
  failover: z
    .enum(['manual', 'automatic'])
    .default('manual')
    .describe('automatic needs a site with three voters'),
})

type Refuse = (path: (string | number)[], message: string) => void

/** What no key says alone. The first of them is what the operator is told. */
function coherent(spec: z.infer<typeof vm>, refuse: Refuse): void {
  for (const [index, { kind, bridge, mac }] of spec.nics.entries()) {
    const at = ['nics', index]
    if (kind === 'bridge' && bridge === undefined)
      refuse([...at, 'bridge'], 'a nic of kind bridge names its bridge')
    if (kind === 'user' && bridge !== undefined)
      refuse([...at, 'bridge'], 'only a nic of kind bridge has a bridge')
    if (mac === undefined) continue
    // The lowest bit of the first octet marks a group of cards; no card may have such an address.
    if (Number.parseInt(mac.slice(0, 2), 16) % 2 === 1)
      refuse([...at, 'mac'], 'a multicast address is no MAC of a nic')
    const first = spec.nics.findIndex((other) => other.mac === mac)
    if (first < index) refuse([...at, 'mac'], `nics[${first}] has this MAC address already`)
  }
  for (const [index, other] of spec.dependsOn.entries()) {
    if (other === spec.name) refuse(['dependsOn', index], 'a VM cannot wait for itself')
    if (spec.dependsOn.indexOf(other) < index) refuse(['dependsOn', index], `${other} is listed twice`)
  }
  if (spec.failover === 'automatic' && spec.policy === 'pinned') {
    refuse(['failover'], 'automatic failover would take the VM from its host, which policy pinned forbids')
  }
}

export const vmSpec = sized(
  'memory',
  vm.superRefine((spec, context) =>
    coherent(spec, (path, message) => context.addIssue({ code: 'custom', path, message })),
  ),
)

export type VmSpec = z.infer<typeof vmSpec>
