/**
 * VM spec v1: what a VM is, as an operator writes it (`vm create -f`, or flags) and as the site group keeps it. One
 * schema for both; docs and the OpenAPI document are printed from it.
 */
import { z } from 'zod'
import { DISKS_MAX, IMAGE_BYTES_MAX, LABELS_MAX, NAME_LENGTH_MAX, NICS_MAX } from '../../protocols/limits.ts'

const name = z
  .string()
  .max(NAME_LENGTH_MAX)
  .regex(/^[a-z0-9]([a-z0-9-]*[a-z0-9])?$/, 'a name is a-z, 0-9 and -, not at its ends')

const label = z
  .string()
  .max(NAME_LENGTH_MAX)
  .regex(/^[A-Za-z0-9_./-]+$/, 'a label is letters, digits and _ . / -')

export const diskSpec = z.strictObject({
  /** An image's name at this site, or its id. */
  image: z.string().min(1).max(64).describe('name or id of the image the disk starts from'),
  /** Grown to this; the image's own size when absent. */
  sizeMiB: z
    .int()
    .min(1)
    .max(IMAGE_BYTES_MAX / 1024 ** 2)
    .optional()
    .describe('size in MiB; the image size when absent'),
})

export const nicSpec = z.strictObject({
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

export const vmSpec = z.strictObject({
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
    .describe('memory in MiB'),
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

export type VmSpec = z.infer<typeof vmSpec>
