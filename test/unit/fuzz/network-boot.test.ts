import { mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { connect } from 'node:net'
import { join } from 'node:path'
import { afterAll, expect, test } from 'vitest'
import { parseDatagram } from '../../../src/net/datagram.js'
import { DhcpLog } from '../../../src/net/dhcp.js'
import { FileServer } from '../../../src/net/file-server.js'
import { MALFORMED } from '../../../src/net/malformed.js'
import { PcapReader } from '../../../src/net/pcap.js'
import { ServedFolder } from '../../../src/net/served-folder.js'
import { TftpLog } from '../../../src/net/tftp.js'
import { ByteFuzzer, FUZZ, fuzz } from '../../support/byte-fuzzer.js'
import { dhcpMessage, makePcap, tftp, udpFrame } from '../../support/packets.js'

/** Time limit that allows for a million inputs, milliseconds. */
const TIMEOUT_MS = 30_000 + FUZZ.inputs

const CLIENT = {
  options: {
    60: Buffer.from('PXEClient:Arch:00007:UNDI:003010'),
    77: Buffer.from('iPXE'),
    93: Buffer.from([0, 7]),
    97: Buffer.from(`00${'0123456789abcdef'.repeat(2)}`, 'hex'),
  },
}

const DHCP = [
  dhcpMessage(1, CLIENT),
  dhcpMessage(2, { address: [10, 0, 2, 15], file: 'boot.ipxe' }),
  dhcpMessage(5, { address: [10, 0, 2, 15], options: { 67: Buffer.from('boot.ipxe') } }),
  dhcpMessage(3, { options: { 93: Buffer.from([0]), 53: Buffer.alloc(0) } }),
]

const TFTP = [
  tftp.read('pxelinux.0', 'blksize', '1432', 'tsize', '0'),
  tftp.read('../../etc/passwd'),
  tftp.optionsAck('blksize', '1428'),
  tftp.optionsAck('blksize', '-1'),
  tftp.data(1, 512),
  tftp.data(65_535, 100),
  tftp.error(1, 'File not found'),
  Buffer.from([0, 1]),
]

test(
  'DHCP: a random message is recorded or counted as malformed',
  async () => {
    const fuzzer = new ByteFuzzer(DHCP, FUZZ.seed)
    const log = new DhcpLog()
    await fuzz(0.3, fuzzer, (payload) => {
      const isRequest = fuzzer.random() < 0.6
      // Most messages belong to separate exchanges.
      if (payload.length >= 8) payload.writeUInt32BE(fuzzer.below(2000), 4)
      const [sourcePort, destinationPort] = isRequest ? [68, 67] : [67, 68]
      const length = payload.length + (fuzzer.random() < 0.2 ? fuzzer.below(100) : 0)
      const result = log.add({ atMs: 0, sourcePort, destinationPort, payload, length })
      expect([undefined, MALFORMED]).toContain(result)
      expect(log.exchanges.entries.length).toBeLessThanOrEqual(1100)
    })
  },
  TIMEOUT_MS,
)

test(
  'TFTP: a random message is recorded or counted as malformed, and its counts are integers',
  async () => {
    const fuzzer = new ByteFuzzer(TFTP, FUZZ.seed)
    let open = 0
    const log = new TftpLog({
      begin: ({ path }) => {
        open++
        expect(path).not.toContain('\0')
      },
      end: ({ bytes, blksize }) => {
        open--
        expect([bytes, blksize]).toSatisfy((counts: unknown[]) => counts.every(Number.isSafeInteger))
      },
    })
    await fuzz(0.3, fuzzer, (payload) => {
      const port = 1024 + fuzzer.below(fuzzer.random() < 0.9 ? 4 : 60_000)
      const [sourcePort, destinationPort] = fuzzer.random() < 0.5 ? [port, 69] : [69, port]
      const length = payload.length + (fuzzer.random() < 0.2 ? fuzzer.below(2000) : 0)
      log.add({ atMs: 0, sourcePort, destinationPort, payload, length })
      if (fuzzer.random() < 0.001) {
        log.abandon()
        open = 0
      }
    })
    expect(open).toBeGreaterThanOrEqual(0)
  },
  TIMEOUT_MS,
)

test(
  'pcap: packets do not depend on the chunks, and none is longer than its capture',
  async () => {
    const frames = [
      udpFrame([68, 67], dhcpMessage(1, CLIENT)),
      udpFrame([4000, 69], tftp.read('pxelinux.0')),
      udpFrame([69, 4000], tftp.data(1, 100), 6),
      Buffer.alloc(10),
    ]
    const capture = (kept: number, order: 'LE' | 'BE') =>
      makePcap(
        frames.map((frame, at) => ({ atUs: at * 1000, frame, kept: Math.min(kept, frame.length) })),
        order,
      )
    const fuzzer = new ByteFuzzer([capture(640, 'LE'), capture(60, 'BE'), Buffer.alloc(30)], FUZZ.seed)
    await fuzz(0.3, fuzzer, (bytes) => {
      const [whole, pieces] = [new PcapReader(), new PcapReader()]
      const packets = whole.push(bytes)
      const others = fuzzer.split(bytes).flatMap((piece) => pieces.push(piece))
      expect(others.map(({ bytes: kept }) => kept.length)).toEqual(
        packets.map(({ bytes: kept }) => kept.length),
      )
      expect(pieces.isMalformed).toBe(whole.isMalformed)
      for (const packet of packets) {
        const datagram = parseDatagram(packet)
        if (datagram === undefined || datagram === MALFORMED) continue
        expect(datagram.payload.length).toBeLessThanOrEqual(datagram.length)
      }
    })
  },
  TIMEOUT_MS,
)

const folder = mkdtempSync(join(process.env.TMPDIR ?? '/tmp', 'withvm-fuzz-http-'))
afterAll(() => rmSync(folder, { recursive: true }))

test(
  'HTTP: a connection with random input ends, no file outside is sent, and the server continues',
  async () => {
    writeFileSync(join(folder, 'secret'), 'this is outside')
    const served = await ServedFolder.join(join(folder, 'served'), [])
    await served.put('file', '0123456789')
    const socket = join(folder, 'http.sock')
    let open = 0
    const server = await FileServer.listen({
      socket,
      find: (path) => served.find(path),
      onRequest: () => open++,
      onEnd: () => open--,
    })
    const send = (pieces: readonly Buffer[], waitMs = 2) =>
      new Promise<string>((resolve) => {
        let response = ''
        const connection = connect(socket)
        connection.on('data', (chunk) => {
          response += chunk.toString('latin1')
        })
        connection.on('error', () => {}).once('close', () => resolve(response))
        for (const piece of pieces) connection.write(piece)
        // The response arrives at once; an incomplete request gets no response.
        const end = () => connection.end()
        connection.once('data', end)
        setTimeout(end, waitMs).unref()
      })
    const samples = [
      'GET /file HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n',
      'GET /../secret HTTP/1.0\r\n\r\n',
      'GET /%2e%2e/secret%00 HTTP/1.0\r\n\r\n',
      'HEAD /file HTTP/1.1\r\nHost: a\r\nRange: bytes=2-4\r\n\r\n',
      'GET /file HTTP/1.1\r\nRange: bytes=-99999999999999999999\r\nHost: a\r\n\r\n',
      'POST /file HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\nffffffffff\r\n',
      'CONNECT a:1 HTTP/1.1\r\n\r\n',
      'GET /file HTTP/1.1\r\nHost: a\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\r\n',
      'OPTIONS * HTTP/1.1\r\nHost: a\r\nExpect: 100-continue\r\nContent-Length: 1\r\n\r\n',
    ]
    const fuzzer = new ByteFuzzer(samples, FUZZ.seed)
    await fuzz(0.1, fuzzer, async (bytes) => {
      expect(await send(fuzzer.split(bytes))).not.toContain('this is outside')
    })
    expect(await send([Buffer.from(samples[0] as string)], 10_000)).toMatch(
      /^HTTP\/1.1 200 OK[\s\S]*0123456789$/,
    )
    await expect.poll(() => open).toBe(0)
    await server.close()
  },
  TIMEOUT_MS,
)
