import { execFileSync } from 'node:child_process'
import { appendFileSync, symlinkSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { expect, test } from 'vitest'
import { DhcpLog } from '../../../src/net/dhcp.js'
import type { NetbootRequest } from '../../../src/net/netboot-request.js'
import { PcapReader } from '../../../src/net/pcap.js'
import { WireLog } from '../../../src/net/wire-log.js'
import { ownTmpdir } from '../../support/own-tmpdir.js'
import { dhcpMessage, makePcap, type Packet, tftp, udpFrame } from '../../support/packets.js'

function readCapture(
  packets: readonly Packet[],
  order: 'LE' | 'BE' = 'LE',
  chunk = Number.POSITIVE_INFINITY,
) {
  const file = join(ownTmpdir(), 'wire.pcap')
  const requests: NetbootRequest[] = []
  const ended: string[] = []
  const log = new WireLog({ begin: (request) => requests.push(request), end: ({ path }) => ended.push(path) })
  log.follow(file)
  log.readOn() // there is none yet
  writeFileSync(file, '')
  const bytes = makePcap(packets, order)
  for (let at = 0; at < bytes.length; at += chunk) {
    appendFileSync(file, bytes.subarray(at, at + chunk))
    log.readOn()
  }
  log.close()
  return { requests, ended, dhcp: log.exchanges.entries, malformed: log.malformed }
}

const ask = (atUs: number, port: number, payload: Buffer, version: 4 | 6 = 4): Packet => ({
  atUs,
  frame: udpFrame([port, 69], payload, version),
})
const answer = (atUs: number, port: number, payload: Buffer, version: 4 | 6 = 4): Packet => ({
  atUs,
  frame: udpFrame([69, port], payload, version),
})

const TRANSFER = [
  ask(1000, 4000, tftp.read('pxelinux.0', 'blksize', '1432', 'tsize', '0')),
  answer(2000, 4000, tftp.optionsAck('blksize', '1428', 'tsize', '2000')),
  answer(3000, 4000, tftp.data(1, 1428)),
  answer(4000, 4000, tftp.data(1, 1428)), // again: the guest did not get it
  answer(9000, 4000, tftp.data(2, 572)),
]

test.each([
  ['in little endian, in one chunk', 'LE', undefined],
  ['in big endian, byte by byte', 'BE', 1],
] as const)('a TFTP transfer is read from a capture that was written %s', (_, order, chunk) => {
  const { requests, ended } = readCapture(TRANSFER, order, chunk)
  expect(requests).toEqual([
    {
      protocol: 'tftp',
      path: 'pxelinux.0',
      status: 'complete',
      code: undefined,
      bytes: 2000,
      blksize: 1428,
      startedAt: expect.any(Date),
      durationMs: 8,
    },
  ])
  expect(ended).toEqual(['pxelinux.0'])
})

test('a TFTP transfer over IPv6 is read, even from truncated packets', () => {
  const packets = [
    ask(0, 5, tftp.read('a'), 6),
    answer(1, 5, tftp.data(1, 512), 6),
    answer(2, 5, tftp.data(2, 100), 6),
  ]
  const { requests } = readCapture(
    packets.map((packet) => ({ ...packet, kept: Math.min(100, packet.frame.length) })),
  )
  expect(requests).toMatchObject([{ path: 'a', status: 'complete', bytes: 612, blksize: 512 }])
})

test('TFTP block numbers wrap around in a large file', () => {
  const { requests } = readCapture([
    ask(0, 5, tftp.read('large', 'blksize', '1024')),
    answer(1, 5, tftp.optionsAck('blksize', '1024')),
    answer(2, 5, tftp.data(65_535, 1024)),
    answer(3, 5, tftp.data(0, 1024)),
    answer(4, 5, tftp.data(1, 1024)),
    answer(5, 5, tftp.data(2, 0)),
  ])
  expect(requests).toMatchObject([{ status: 'complete', bytes: 65_537 * 1024 }])
})

test('missing files, refusals and size queries over TFTP are distinguished', () => {
  const { requests } = readCapture([
    ask(0, 1, tftp.read('absent')),
    answer(1, 1, tftp.error(1, 'File not found')),
    ask(2, 2, tftp.read('../secret')),
    answer(3, 2, tftp.error(2, 'Access violation')),
    ask(4, 3, tftp.read('sized', 'tsize', '0')),
    answer(5, 3, tftp.optionsAck('tsize', '5')),
    ask(6, 3, tftp.error(8, 'User aborted')),
    ask(7, 4, tftp.read('slow')),
    answer(8, 4, tftp.data(1, 512)),
  ])
  expect(requests.map(({ path, status, code, bytes }) => [path, status, code, bytes])).toEqual([
    ['absent', 'not found', 1, 0],
    ['../secret', 'failed', 2, 0],
    ['sized', 'aborted', 8, 0],
    ['slow', 'pending', undefined, 512],
  ])
})

test('a DHCP exchange is recorded from DISCOVER to ACK', () => {
  const client = {
    options: {
      60: Buffer.from('PXEClient:Arch:00007:UNDI:003010'),
      77: Buffer.from('iPXE'),
      93: Buffer.from([0, 7]),
      97: Buffer.from(`00${'0123456789abcdef'.repeat(2)}`, 'hex'),
    },
  }
  const server = { address: [10, 0, 2, 15], file: 'boot.ipxe' }
  const fromGuest = (atUs: number, payload: Buffer) => ({ atUs, frame: udpFrame([68, 67], payload) })
  const toGuest = (atUs: number, payload: Buffer) => ({ atUs, frame: udpFrame([67, 68], payload) })
  const { dhcp } = readCapture([
    fromGuest(0, dhcpMessage(1, client)),
    toGuest(1000, dhcpMessage(2, server)),
    fromGuest(2000, dhcpMessage(3, client)),
    toGuest(5000, dhcpMessage(5, server)),
  ])
  expect(dhcp).toEqual([
    {
      mac: '52:54:00:aa:bb:cc',
      messages: ['DISCOVER', 'OFFER', 'REQUEST', 'ACK'],
      isGranted: true,
      address: '10.0.2.15',
      bootfile: 'boot.ipxe',
      vendorClass: 'PXEClient:Arch:00007:UNDI:003010',
      userClass: 'iPXE',
      firmware: 'uefi-x64',
      uuid: '01234567-89ab-cdef-0123-456789abcdef',
      startedAt: expect.any(Date),
      durationMs: 5,
    },
  ])
})

test('a DHCP request without a reply grants no address', () => {
  const { dhcp } = readCapture([{ atUs: 0, frame: udpFrame([68, 67], dhcpMessage(1)) }])
  expect(dhcp).toMatchObject([
    { messages: ['DISCOVER'], isGranted: false, address: undefined, firmware: 'unknown', uuid: undefined },
  ])
})

test('malformed DHCP and TFTP packets are counted and dropped, and later ones are read', () => {
  const dhcp = (payload: Buffer) => ({ atUs: 0, frame: udpFrame([68, 67], payload) })
  const withOption = (code: number, value: Buffer) => dhcp(dhcpMessage(1, { options: { [code]: value } }))
  const cutOff = dhcpMessage(1).subarray(0, -2) // the last option reaches beyond the message
  const wrongLength = udpFrame([68, 67], dhcpMessage(1))
  wrongLength.writeUInt16BE(3, 14 + 20 + 4) // less than the header
  const shortHeader = udpFrame([68, 67], dhcpMessage(1))
  shortHeader[14] = 0x41
  const bad = [
    withOption(93, Buffer.from([0])), // one byte of an architecture
    withOption(93, Buffer.alloc(0)),
    withOption(53, Buffer.alloc(0)), // no type
    withOption(53, Buffer.from([200])),
    dhcp(dhcpMessage(1).subarray(0, 239)),
    dhcp(dhcpMessage(1).fill(0, 236, 240)),
    dhcp(cutOff),
    { atUs: 0, frame: wrongLength },
    { atUs: 0, frame: shortHeader },
    ask(0, 5, Buffer.from([0, 1])),
    ask(0, 5, Buffer.from('\0\x01no end')),
    ask(0, 5, Buffer.from('\0\x01\0octet\0')), // no name
  ]
  const good = [
    dhcp(dhcpMessage(1)),
    ask(1, 5, tftp.read('a')),
    answer(2, 5, tftp.optionsAck('blksize', 'many')), // malformed as well
    answer(3, 5, tftp.data(1, 100)),
  ]
  const read = readCapture([...bad, ...good])
  expect(read.malformed).toBe(bad.length + 1)
  expect(read.dhcp).toMatchObject([{ messages: ['DISCOVER'] }])
  expect(read.requests).toMatchObject([{ path: 'a', status: 'complete', bytes: 100, blksize: 512 }])
})

test('padded frames are read, and messages truncated by the capture are not malformed', () => {
  const padded = Buffer.concat([udpFrame([5, 69], tftp.read('a')), Buffer.alloc(30, 1)])
  const long = udpFrame(
    [68, 67],
    dhcpMessage(1, { options: { 61: Buffer.alloc(250), 77: Buffer.alloc(250) } }),
  )
  const read = readCapture([
    { atUs: 0, frame: padded },
    { atUs: 1, frame: long, kept: 600 },
  ])
  expect(read).toMatchObject({
    malformed: 0,
    requests: [{ path: 'a' }],
    dhcp: [{ messages: ['DISCOVER'] }],
  })
})

test.each([
  ['is not a capture', (file: Buffer) => file.fill(0, 0, 4)],
  ['has a packet longer than the maximum', (file: Buffer) => file.fill(0xff, 24 + 8, 24 + 12)],
])('a file that %s counts as one malformed packet, and the rest is dropped', (_, break_) => {
  const file = break_(makePcap(TRANSFER))
  const reader = new PcapReader()
  expect(reader.push(file)).toEqual([])
  expect(reader.push(Buffer.alloc(1000))).toEqual([])
  expect(reader.isMalformed).toBe(true)
})

test('a flood of DHCP messages is recorded in a bounded list, and the rest is counted', () => {
  const log = new DhcpLog()
  const flood = (xid: number, times: number) => {
    const payload = dhcpMessage(1)
    payload.writeUInt32BE(xid, 4)
    for (let time = 0; time < times; time++)
      log.add({ atMs: 0, sourcePort: 68, destinationPort: 67, payload, length: payload.length })
  }
  for (let xid = 0; xid < 5000; xid++) flood(xid, 1)
  flood(5000, 100)
  const { entries, dropped, total } = log.exchanges
  expect(total).toBe(5001)
  expect(entries.length).toBeLessThanOrEqual(1100)
  expect(entries.length + dropped).toBe(total)
  expect(entries.at(-1)?.messages).toHaveLength(32)
})

test('packets of other protocols are ignored', () => {
  const { requests, dhcp } = readCapture([
    { atUs: 0, frame: Buffer.alloc(10) },
    { atUs: 1, frame: Buffer.alloc(60) },
    { atUs: 2, frame: udpFrame([53, 1234], Buffer.alloc(100)) },
    { atUs: 3, frame: udpFrame([68, 67], Buffer.alloc(20)) },
    answer(4, 9, tftp.data(1, 5)),
  ])
  expect([requests, dhcp]).toEqual([[], []])
})

test.each([
  ['a FIFO', (path: string) => execFileSync('mkfifo', [path])],
  ['a link to a device', (path: string) => symlinkSync('/dev/zero', path)],
])('%s that replaces a capture is not opened and is reported', (_, make) => {
  const file = join(ownTmpdir(), 'wire.pcap')
  make(file)
  const log = new WireLog({ begin: () => {}, end: () => {} })
  log.follow(file)
  log.readOn()
  expect(log.problem).toContain(file)
  log.close()
})

test('a capture is read in steps of 16 MiB, and the next part follows its end', () => {
  const dir = ownTmpdir()
  const [first, second] = [join(dir, 'first.pcap'), join(dir, 'second.pcap')]
  // 400,000 unrelated packets of 64 bytes, followed by a request.
  const other = udpFrame([1, 2], Buffer.alloc(22))
  const [header, packet] = [makePcap([]), makePcap([{ atUs: 0, frame: other }])]
  const flood = Buffer.alloc((packet.length - header.length) * 400_000, packet.subarray(header.length))
  const request = makePcap([ask(1000, 4000, tftp.read('a'))]).subarray(header.length)
  writeFileSync(first, Buffer.concat([header, flood, request]))
  writeFileSync(second, makePcap([ask(2000, 4001, tftp.read('b'))]))
  const paths: string[] = []
  const log = new WireLog({ begin: ({ path }) => paths.push(path), end: () => {} })
  log.follow(first)
  expect(paths).toEqual([])
  log.continueWith(second)
  expect(paths).toEqual(['a', 'b'])
  log.close()
})
