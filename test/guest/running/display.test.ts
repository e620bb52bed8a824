import { once } from 'node:events'
import { rm, writeFile } from 'node:fs/promises'
import { connect, type Socket } from 'node:net'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { expect, onTestFinished } from 'vitest'
import { failureOf } from '../../support/failure-of.js'
import { guestTest } from '../../support/guest-test.js'

const file = (name: string) => join(tmpdir(), `withvm-display-${process.pid}-${name}`)

const test = guestTest({
  name: 'shown',
  start: 'cold',
  vnc: { password: 'eight888', websocket: true },
  spice: { password: 'a ticket' },
  keyboardLayout: 'de',
  tablet: 'virtio',
  hotplug: true, // enables ACPI, which the driver of IDE drives requires
  disks: [{ media: 'cdrom' }, { interface: 'floppy' }],
})

/** Reads exactly `count` bytes. */
async function read(socket: Socket, count: number): Promise<Buffer> {
  for (;;) {
    const bytes = socket.read(count) as Buffer | null
    if (bytes !== null) return bytes
    await once(socket, 'readable')
  }
}

function open(target: { host: string | undefined; port: number | undefined; socket: string | undefined }) {
  const socket =
    target.socket === undefined ? connect(target.port as number, target.host) : connect(target.socket)
  onTestFinished(() => void socket.destroy())
  return socket
}

test('VNC requires the password and listens only on loopback addresses', async ({ vm }) => {
  const server = await vm.vnc()
  expect(server).toMatchObject({ host: '127.0.0.1', socket: undefined, hasPassword: true })
  expect(server.url).toBe(`vnc://127.0.0.1:${server.port}`)
  expect(server.websocketPort).toBe((server.port as number) - 200)
  const socket = open(server)
  // RFC 6143, 7.1: both sides send their version, then the server its security types. Type 2 is a VNC password.
  expect((await read(socket, 12)).toString()).toBe('RFB 003.008\n')
  socket.write('RFB 003.008\n')
  expect([...(await read(socket, 2))]).toEqual([1, 2])
  socket.write(Buffer.from([2]))
  expect(await read(socket, 16)).toHaveLength(16)
  socket.write(Buffer.alloc(16)) // a wrong response to the challenge
  expect((await read(socket, 4)).readUInt32BE()).toBe(1)
})

test('SPICE accepts clients on the socket in the folder of the run', async ({ vm }) => {
  const server = await vm.spice()
  expect(server).toMatchObject({ port: undefined, hasPassword: true })
  expect(server.url).toBe(`spice+unix://${server.socket}`)
  const socket = open(server)
  // SpiceLinkHeader and SpiceLinkMess of spice-protocol: version 2.2, the main channel, one word of common capabilities.
  const message = Buffer.alloc(16 + 18 + 4)
  message.write('REDQ')
  message.writeUInt32LE(2, 4)
  message.writeUInt32LE(2, 8)
  message.writeUInt32LE(18 + 4, 12)
  message.writeUInt8(1, 20)
  message.writeUInt32LE(1, 22)
  message.writeUInt32LE(0, 26)
  message.writeUInt32LE(18, 30)
  message.writeUInt32LE(0b1011, 34) // capabilities: selection of the login method, login with a ticket
  socket.write(message)
  const reply = await read(socket, 20)
  expect(reply.subarray(0, 4).toString()).toBe('REDQ')
  expect(reply.readUInt32LE(16)).toBe(0) // SPICE_LINK_ERR_OK
})

test('vm.press() and vm.type() send keys to the guest', async ({ vm }) => {
  const listen = async (work: () => Promise<void>) => {
    await vm.ssh`
      modprobe evdev
      for event in /sys/class/input/event*; do
        grep -q keyboard $event/device/name && keyboard=/dev/input/$(basename $event)
      done
      (timeout 8 cat $keyboard > /tmp/keys) > /dev/null 2>&1 &
      sleep 0.3`
    await work()
    const { stdout } = await vm.ssh('killall cat 2>/dev/null; cat /tmp/keys', { encoding: 'buffer' })
    // struct input_event of input.h: 16 bytes of time, then type, code and value. Type 1 is a key, value 1 a press.
    const events = Array.from({ length: Math.floor(stdout.length / 24) }, (_, index) =>
      stdout.subarray(index * 24),
    )
    return events
      .filter((event) => event.readUInt16LE(16) === 1 && event.readInt32LE(20) === 1)
      .map((event) => event.readUInt16LE(18))
  }
  const [ctrl, alt, f2, shift, y, semicolon, apostrophe] = [29, 56, 60, 42, 21, 39, 40]
  expect(await listen(() => vm.press('ctrl-alt-f2'))).toEqual([ctrl, alt, f2])
  expect(await listen(() => vm.type('zÖä', { layout: 'de' }))).toEqual([y, shift, semicolon, apostrophe])
})

test('vm.mouse.click() moves the pointer to the position and presses the button', async ({ vm }) => {
  const early = await failureOf(vm.mouse.click({ x: 0, y: 0 }))
  expect(early).toMatchObject({ code: 'DISPLAY_UNAVAILABLE', kind: 'usage' })
  expect(early.details.got).toBe('a mouse, which supports only relative movements')
  await vm.ssh`
    modprobe -a virtio_input evdev
    for event in /sys/class/input/event*; do
      grep -q Tablet $event/device/name && ln -sf /dev/input/$(basename $event) /tmp/tablet
    done
    (timeout 8 cat /tmp/tablet > /tmp/moves) > /dev/null 2>&1 &
    sleep 0.3`
  const outside = await failureOf(vm.mouse.move(10_000, 0))
  expect(outside).toMatchObject({ code: 'INVALID_OPTIONS' })
  await vm.mouse.click({ x: 300, y: 200 })
  const { stdout } = await vm.ssh('killall cat 2>/dev/null; od -An -v -t u2 -w24 /tmp/moves')
  const button = stdout.split('\n').find((line) => / 1 +272 +1 +0$/.test(line))
  expect(button).toBeDefined()
})

test('vm.screenshot() returns a PNG even if no viewer is connected', async ({ vm }) => {
  const png = await vm.screenshot()
  expect(png.subarray(0, 8).toString('latin1')).toBe('\x89PNG\r\n\x1a\n')
  expect(png.readUInt32BE(16)).toBeGreaterThanOrEqual(640)
  expect(png.readUInt32BE(20)).toBeGreaterThanOrEqual(400)
})

test('vm.media inserts, replaces and ejects a CD', async ({ vm }) => {
  const [first, second] = [file('first.iso'), file('second.iso')]
  onTestFinished(async () => void (await Promise.all([rm(first), rm(second)])))
  await writeFile(first, Buffer.alloc(65_536, 'A'))
  await writeFile(second, Buffer.alloc(65_536, 'B'))
  await vm.ssh`modprobe -a ata_piix sr_mod`
  await vm.media.insert('cdrom', first)
  await vm.waitFor.file('/dev/sr0')
  // The first read after a change of the medium fails.
  const shows = (text: string) =>
    vm.waitFor.command(`test "$(dd if=/dev/sr0 bs=1 count=4 2> /dev/null)" = ${text}`)
  await shows('AAAA')
  await vm.media.insert(0, second)
  await shows('BBBB')
  await vm.media.eject('cdrom')
  await vm.waitFor.command('! dd if=/dev/sr0 bs=1 count=4')
  const none = await failureOf(vm.media.insert('fdb', first))
  expect(none.message).toBe(
    "The guest has no drive 'fdb' with a removable medium.\nFix: Start the guest with `cdrom`, `fda`, `fdb`, or an empty drive in `disks`: { media: 'cdrom' } or { interface: 'floppy' }.",
  )
})

test('vm.media inserts a floppy disk with an overlay, so that writes do not change the file', async ({
  vm,
}) => {
  const floppy = file('floppy.img')
  onTestFinished(() => rm(floppy))
  await writeFile(floppy, Buffer.alloc(1_474_560, 'F'))
  await vm.media.insert('fda', floppy)
  const blocks = (await vm.qmp.execute('query-block')) as unknown as Array<{
    qdev: string
    inserted?: object
  }>
  const inserted = () => blocks.find(({ qdev }) => qdev === 'medium2')?.inserted
  expect(inserted()).toMatchObject({ backing_file: floppy, ro: false })
  await vm.media.eject('fda')
})
