import { writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { expect } from 'vitest'
import { launchVM, type VM } from 'withvm'
import { failureOf } from '../../support/failure-of.js'
import { guestTest } from '../../support/guest-test.js'
import { ownTmpdir } from '../../support/own-tmpdir.js'

const test = guestTest({
  start: 'cold',
  ports: [{ name: 'control' }, { name: 'line', type: 'serial' }],
})

/** Starts a process in the guest that replies to the first line from a device after the host has read its greeting. */
const startReplying = (vm: VM, device: string) => vm.ssh`
  (exec 3<>${device}; echo listening >&3; read -r word <&3; echo "got $word" >&3) < /dev/null > /dev/null 2>&1 &`

test.for([
  ['virtio', 'control'],
  ['serial', 'line'],
] as const)('a %s port transfers bytes in both directions', async ([kind, name], { vm }) => {
  const { stdout } = await vm.ssh`
    modprobe virtio_console
    find() { cd /sys/class/virtio-ports && port=$(dirname $(grep -lx control */name)) && [ -c /dev/$port ]; }
    until find; do sleep 0.1; done 2> /dev/null
    echo $port`
  const port = vm.port(name)
  await startReplying(vm, kind === 'virtio' ? `/dev/${stdout}` : '/dev/ttyS1')
  await port.waitFor('listening')
  await port.write('hello\n')
  expect(await port.waitFor('got hello')).toBe('got hello')
})

test('output of the guest to a parallel port is received', async () => {
  const path = join(ownTmpdir(), 'printing.img')
  writeFileSync(path, printingSector('OK'))
  await using vm = await launchVM({
    image: { path, format: 'raw' },
    ssh: false,
    ports: [{ name: 'printer', type: 'parallel' }],
    log: () => {},
  })
  expect(await vm.port('printer').waitFor('OK')).toBe('OK')
})

/** Makes a boot sector that prints. Each byte is written to the data register, then the strobe bit is toggled. */
function printingSector(text: string): Buffer {
  const code = [...Buffer.from(text)].flatMap((byte) => [
    ...[0xba, 0x78, 0x03, 0xb0, byte, 0xee],
    ...[0xba, 0x7a, 0x03, 0xb0, 0x0c, 0xee, 0xb0, 0x0d, 0xee, 0xb0, 0x0c, 0xee],
  ])
  const sector = Buffer.alloc(1024 ** 2)
  Buffer.from([...code, 0xf4, 0xeb, 0xfd]).copy(sector)
  sector.writeUInt16LE(0xaa55, 510)
  return sector
}

test('a wait for a port that times out and an unknown port are reported', async ({ vm }) => {
  const missed = await failureOf(vm.port('line').waitFor('more', { timeout: '50ms' }))
  expect(missed.message).toContain(`The guest did not write "more" to the port 'line' within 50 ms.`)
  expect(() => vm.port('absent')).toThrow("The guest has no port 'absent'.")
})
