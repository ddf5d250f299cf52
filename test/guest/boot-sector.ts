/**
 * The tiny guest's machine code: one boot sector of 16-bit x86, written out byte by byte so that a newcomer needs no
 * assembler. It counts, every two BIOS ticks (110 ms): the new count is on its disk before it is printed on COM1, so a
 * count that anybody has seen never comes back smaller, whenever the guest is killed.
 *
 *   godwit-guest boot count=N     once, with the count its disk held
 *   godwit-guest count=N          each step
 *   godwit-guest off count=N      after ACPI's power button; then it powers off
 *   godwit-guest disk error       int 13h refused; it counts no further
 */
import assert from 'node:assert/strict'

/** LBA of the sector that holds the count: 1 MiB, a chunk of its own, far from code and data. */
export const COUNTER_LBA = 2048
/** Offset of the count (32 bits, little endian) in that sector, after the 8 bytes of MAGIC. */
export const COUNTER_OFFSET = 8
export const COUNTER_MAGIC = 'GODWITCT'
export const SECTOR_BYTES = 512

/** Where the BIOS loads the sector. */
const ORIGIN = 0x7c00
/** Where the counter's sector is read to. */
const BUFFER = 0x8000
const COUNT = BUFFER + COUNTER_OFFSET
/** SeaBIOS puts ACPI's power management registers here, on i440fx and on q35. */
const PM1_STATUS = 0x600
const PM1_ENABLE = 0x602
const PM1_CONTROL = 0x604
const COM1 = 0x3f8

type Part = number | { label: string } | { short: string } | { near: string } | { address: string }

const label = (name: string): Part => ({ label: name })
/** The distance to a label in one signed byte, in two bytes, and a label's address. */
const short = (name: string): Part => ({ short: name })
const near = (name: string): Part => ({ near: name })
const address = (name: string): Part => ({ address: name })
const word = (value: number): Part[] => [value & 0xff, value >> 8]
const text = (value: string): Part[] => [...Buffer.from(value, 'latin1'), 0]

// prettier-ignore
const CODE: Part[][] = [
  [0xfa],                                           // cli
  [0x31, 0xc0],                                     // xor ax, ax
  [0x8e, 0xd8],                                     // mov ds, ax
  [0x8e, 0xc0],                                     // mov es, ax
  [0x8e, 0xd0],                                     // mov ss, ax
  [0xbc, ...word(ORIGIN)],                          // mov sp, ORIGIN: the stack grows down from the code
  [0xfc],                                           // cld
  [0x88, 0x16, address('drive')],                   // mov [drive], dl: what the BIOS booted from

  // COM1: 115200 baud, 8 bits, no parity, one stop bit, FIFO on.
  [0xba, ...word(COM1 + 3), 0xb0, 0x80, 0xee],      // mov dx, LCR; mov al, 0x80; out dx, al: divisor latch
  [0xba, ...word(COM1), 0xb0, 0x01, 0xee],          // mov dx, DLL; mov al, 1; out dx, al
  [0xba, ...word(COM1 + 1), 0xb0, 0x00, 0xee],      // mov dx, DLM; mov al, 0; out dx, al
  [0xba, ...word(COM1 + 3), 0xb0, 0x03, 0xee],      // mov dx, LCR; mov al, 3; out dx, al: 8N1
  [0xba, ...word(COM1 + 2), 0xb0, 0x01, 0xee],      // mov dx, FCR; mov al, 1; out dx, al

  // The power button is polled: its bit is enabled, its interrupt (IRQ 9) masked.
  [0xe4, 0xa1, 0x0c, 0x02, 0xe6, 0xa1],             // in al, 0xa1; or al, 2; out 0xa1, al
  [0xba, ...word(PM1_STATUS)],                      // mov dx, PM1_STATUS
  [0xb8, ...word(0x0100), 0xef],                    // mov ax, PWRBTN_STS; out dx, ax: writing it clears it
  [0xba, ...word(PM1_ENABLE)],                      // mov dx, PM1_ENABLE
  [0xb8, ...word(0x0100), 0xef],                    // mov ax, PWRBTN_EN; out dx, ax
  [0xfb],                                           // sti

  [0xb4, 0x42, 0xe8, near('disk')],                 // mov ah, 0x42 (extended read); call disk
  [0xbe, address('boot'), 0xe8, near('say')],       // mov si, boot; call say

  [label('step')],
  [0x8b, 0x1e, ...word(0x046c)],                    // mov bx, [0x46c]: the BIOS's ticks at the last step
  [label('wait')],
  [0xf4],                                           // hlt: until the next interrupt, so an idle guest costs nothing
  [0xba, ...word(PM1_STATUS), 0xed],                // mov dx, PM1_STATUS; in ax, dx
  [0xf6, 0xc4, 0x01, 0x75, short('off')],           // test ah, PWRBTN_STS >> 8; jnz off
  [0xa1, ...word(0x046c), 0x29, 0xd8],              // mov ax, [0x46c]; sub ax, bx
  [0x3d, ...word(2), 0x72, short('wait')],          // cmp ax, 2; jb wait
  [0x66, 0xff, 0x06, ...word(COUNT)],               // inc dword [COUNT]
  [0xb8, ...word(0x4300), 0xe8, near('disk')],      // mov ax, 0x4300 (extended write, no verify); call disk
  [0xbe, address('nothing'), 0xe8, near('say')],    // mov si, nothing; call say
  [0xeb, short('step')],                            // jmp step

  [label('off')],
  [0xb8, ...word(0x4300), 0xe8, near('disk')],      // mov ax, 0x4300; call disk
  [0xbe, address('off-text'), 0xe8, near('say')],   // mov si, off-text; call say
  [0xba, ...word(PM1_CONTROL)],                     // mov dx, PM1_CONTROL
  [0xb8, ...word(0x2000), 0xef],                    // mov ax, SLP_EN | SLP_TYP 0 (QEMU's S5); out dx, ax
  [label('halt')],
  [0xf4, 0xeb, short('halt')],                      // hlt; jmp halt

  // disk: reads or writes the counter's sector, as AH says.
  [label('disk')],
  [0xbe, address('packet')],                        // mov si, packet
  [0x8a, 0x16, address('drive')],                   // mov dl, [drive]
  [0xcd, 0x13, 0x72, short('broken'), 0xc3],        // int 0x13; jc broken; ret
  [label('broken')],
  [0xbe, address('error'), 0xe8, near('print')],    // mov si, error; call print
  [0xeb, short('halt')],                            // jmp halt

  // say: one line, `godwit-guest <text at si>count=N`.
  [label('say')],
  [0x56, 0xbe, address('prefix'), 0xe8, near('print')], // push si; mov si, prefix; call print
  [0x5e, 0xe8, near('print')],                      // pop si; call print
  [0xbe, address('count'), 0xe8, near('print')],    // mov si, count; call print
  [0x66, 0xa1, ...word(COUNT)],                     // mov eax, [COUNT]
  [0x66, 0xbb, 10, 0, 0, 0],                        // mov ebx, 10
  [0x31, 0xc9],                                     // xor cx, cx
  [label('divide')],
  [0x66, 0x31, 0xd2, 0x66, 0xf7, 0xf3],             // xor edx, edx; div ebx
  [0x52, 0x41],                                     // push dx; inc cx
  [0x66, 0x85, 0xc0, 0x75, short('divide')],        // test eax, eax; jnz divide
  [label('digit')],
  [0x58, 0x04, 0x30, 0xe8, near('put')],            // pop ax; add al, '0'; call put
  [0xe2, short('digit')],                           // loop digit
  [0xbe, address('end')],                           // mov si, end; falls into print

  // print: the bytes at si up to a zero.
  [label('print')],
  [0xac, 0x84, 0xc0, 0x74, short('return')],        // lodsb; test al, al; jz return
  [0xe8, near('put'), 0xeb, short('print')],        // call put; jmp print

  // put: one byte to COM1, once it takes one.
  [label('put')],
  [0x50, 0xba, ...word(COM1 + 5)],                  // push ax; mov dx, LSR
  [label('full')],
  [0xec, 0xa8, 0x20, 0x74, short('full')],          // in al, dx; test al, THRE; jz full
  [0x58, 0xba, ...word(COM1), 0xee],                // pop ax; mov dx, THR; out dx, al
  [label('return')],
  [0xc3],                                           // ret

  [label('drive'), 0],
  // The disk address packet of int 13h: its size, one sector, buffer 0000:BUFFER, LBA in 64 bits.
  [label('packet'), ...word(16), ...word(1), ...word(BUFFER), ...word(0)],
  [...word(COUNTER_LBA), 0, 0, 0, 0, 0, 0],
  [label('prefix'), ...text('godwit-guest ')],
  [label('count'), ...text('count=')],
  [label('boot'), ...text('boot ')],
  [label('off-text'), ...text('off ')],
  [label('error'), ...text('godwit-guest disk error\r\n')],
  [label('end'), ...text('\r\n').slice(0, -1), label('nothing'), 0],
]

/** The boot sector, 512 bytes with its signature; what lies behind the code is free for a partition table. */
export function bootSector(): Uint8Array {
  const parts = CODE.flat()
  const labels = new Map<string, number>()
  let at = ORIGIN
  for (const part of parts) {
    if (typeof part === 'object' && 'label' in part) labels.set(part.label, at)
    else at += size(part)
  }
  const sector = Buffer.alloc(SECTOR_BYTES)
  let end = 0
  for (const part of parts) end += place(sector, end, part, labels)
  assert(end <= 446, `the boot code takes ${end} bytes; a partition table begins at 446`)
  sector.writeUInt16LE(0xaa55, 510)
  return sector
}

const size = (part: Part): number => {
  if (typeof part === 'number' || 'short' in part) return 1
  return 'label' in part ? 0 : 2
}

/** Writes one part at `at`, a distance counted from the end of its instruction; returns its size. */
function place(sector: Buffer, at: number, part: Part, labels: ReadonlyMap<string, number>): number {
  const where = (name: string): number => {
    const found = labels.get(name)
    assert(found !== undefined, `no label ${name}`)
    return found
  }
  if (typeof part === 'number') sector.writeUInt8(part, at)
  else if ('short' in part) sector.writeInt8(where(part.short) - (ORIGIN + at + 1), at)
  else if ('near' in part) sector.writeInt16LE(where(part.near) - (ORIGIN + at + 2), at)
  else if ('address' in part) sector.writeUInt16LE(where(part.address), at)
  return size(part)
}
