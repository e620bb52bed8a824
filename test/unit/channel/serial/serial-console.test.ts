import { mkdtempSync, rmSync } from 'node:fs'
import { connect, type Socket } from 'node:net'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { setTimeout as sleep } from 'node:timers/promises'
import { afterEach, beforeEach, describe, expect, test } from 'vitest'
import { SerialConsole } from '../../../../src/channel/serial/serial-console.js'
import { listenUnix, type UnixListener } from '../../../../src/channel/unix-listener.js'

let directory: string
let listener: UnixListener
let serial: SerialConsole
let guest: Socket

beforeEach(async () => {
  directory = mkdtempSync(join(tmpdir(), 'withvm-serial-'))
  listener = await listenUnix(join(directory, 's'))
  serial = new SerialConsole({ logPath: '/run/serial.log' })
  guest = await switchOn()
})

afterEach(async () => {
  guest.destroy()
  serial.close()
  await listener.close()
  rmSync(directory, { recursive: true })
})

/** Connects as QEMU does. */
async function switchOn(): Promise<Socket> {
  const peer = connect(listener.path)
  serial.attach(await listener.accept({ timeoutMs: 1000 }))
  return peer
}

/** Writes the pieces one by one, with a turn of the reader between them. */
async function write(...pieces: Array<string | Buffer>): Promise<void> {
  for (const piece of pieces) {
    guest.write(piece)
    await sleep(3)
  }
}

describe('waitFor', () => {
  test('finds what has come before, from the first byte on', async () => {
    await write('SeaBIOS\r\n', 'Linux version 6.1\r\n')
    await serial.waitFor('Linux')
    const { text, line, match } = await serial.waitFor(/Sea(BIOS)/)
    expect({ text, line, group: match[1] }).toEqual({ text: 'SeaBIOS', line: 'SeaBIOS', group: 'BIOS' })
  })

  test('finds what comes in pieces, one byte at a time', async () => {
    const found = serial.waitFor(/login: $/)
    await write(...'debian login: '.split(''))
    expect((await found).line).toBe('debian login: ')
  })

  test('looks only behind a mark, or at what comes from now on', async () => {
    await write('round 1: ok\n')
    await serial.waitFor('round 1')
    const mark = serial.mark()
    const behind = serial.waitFor(/round (\d)/, { from: mark })
    const now = serial.waitFor(/round (\d)/, { from: 'now' })
    await write('round 2: ok\n')
    expect((await behind).match[1]).toBe('2')
    expect((await now).match[1]).toBe('2')
    expect(serial.since(mark)).toBe('round 2: ok\n')
    expect(
      (await serial.waitFor('round', { from: (await behind).end, timeout: 20 }).catch((e) => e)).code,
    ).toBe('SERIAL_TIMEOUT')
  })

  test('goes on from the end of a match', async () => {
    await write('a1 a2 a3\n')
    const first = await serial.waitFor(/a\d/)
    const second = await serial.waitFor(/a\d/, { from: first.end })
    expect([first.text, second.text]).toEqual(['a1', 'a2'])
  })

  test('takes a text with the signs of a RegExp literally', async () => {
    await write('[    0.00] (a+b)? $x\n')
    expect((await serial.waitFor('[    0.00] (a+b)? $x')).text).toBe('[    0.00] (a+b)? $x')
  })

  test('ignores the state of g and y, and leaves it alone', async () => {
    await write('one two\n')
    const pattern = /two/g
    pattern.lastIndex = 100
    await serial.waitFor(pattern)
    await serial.waitFor(/two/y)
    expect(pattern.lastIndex).toBe(100)
  })

  test('matches ^ and $ at the bounds of lines only', async () => {
    await write('not done\r\ndone\r\n')
    expect((await serial.waitFor(/^done$/)).line).toBe('done')
    await write('x')
    const mark = serial.mark()
    const found = serial.waitFor(/^middle/, { from: mark, timeout: 60 })
    await write('middle')
    await expect(found).rejects.toMatchObject({ code: 'SERIAL_TIMEOUT' })
  })

  test('finds a pattern over several lines, that come apart', async () => {
    const found = serial.waitFor(/begin\n.*\nend/)
    const classes = serial.waitFor(/begin[^x]+end/)
    await write('beg', 'in\r', '\nmiddle\r\n', 'en', 'd\r\n')
    expect((await found).text).toBe('begin\nmiddle\nend')
    expect((await classes).text).toBe('begin\nmiddle\nend')
  })

  test('sees through colours, cursor moves and titles, also those that come apart', async () => {
    const found = serial.waitFor('[  OK  ] Started demo.service')
    await write(
      '\x1b]0;title',
      '\x07[\x1b[0;3',
      '2m  OK  \x1b[',
      '0m] Started \x1b[0;1;39mdemo.service\x1b[0m.\r\n',
    )
    expect((await found).line).toBe('[  OK  ] Started demo.service.')
  })

  test('reads UTF-8 that comes apart, and NUL and broken bytes', async () => {
    const found = serial.waitFor('grün € ok')
    const bytes = Buffer.from('grün € ok\n')
    await write(...Array.from(bytes, (byte) => Buffer.from([byte])))
    await found
    await write(Buffer.from([0, 0xff, 0xfe, 0x80, 0, 0x41, 0x0a]))
    expect((await serial.waitFor(/^.*A$/)).text).toBe('\ufffd\ufffd\ufffdA')
  })

  test('rejects in its time with the last lines, the silence and the log', async () => {
    await write('Booting from Hard Disk...\r\n', '\r\n', 'No bootable device.\r\n')
    const error = await serial.waitFor(/login:/, { timeout: '60ms' }).catch((caught) => caught)
    expect(error.code).toBe('SERIAL_TIMEOUT')
    expect(error.message.replace(/\d+ ms ago/, 'N ms ago')).toBe(
      [
        'the serial console did not show a pattern within 60 ms',
        '  Expected: /login:/',
        '  Got:      50 characters, the last of them N ms ago',
        '',
        'Last lines of the serial console:',
        '  | Booting from Hard Disk...',
        '  | No bootable device.',
        '',
        'Whole log:',
        '  | /run/serial.log',
        '',
        'Fix: The guest has fallen silent: see the last lines, and compare the pattern with them.',
      ].join('\n'),
    )
  })

  test('says so when not one byte came', async () => {
    await expect(serial.waitFor('x', { timeout: 20 })).rejects.toThrow(
      /Got: {6}not one byte\n(.|\n)*Fix: Let the guest write to its serial port/,
    )
  })

  test('rejects an empty pattern and a timeout that is none', async () => {
    await expect(serial.waitFor('')).rejects.toMatchObject({ code: 'INVALID_OPTIONS' })
    await expect(serial.waitFor('x', { timeout: '1 fortnight' as never })).rejects.toThrow(
      'serial.waitFor() got a timeout that it cannot use\n  Expected: a duration, as \'30s\' or 500\n  Got:      "1 fortnight"',
    )
  })

  test('an abort and a close end it with their reasons', async () => {
    const controller = new AbortController()
    const aborted = serial.waitFor('x', { signal: controller.signal })
    const closed = serial.waitFor('x')
    controller.abort(new Error('enough'))
    await expect(aborted).rejects.toThrow('enough')
    serial.close(new Error('QEMU ended'))
    await expect(closed).rejects.toThrow('QEMU ended')
    await expect(serial.waitFor('later')).rejects.toThrow('QEMU ended')
  })
})

describe('the log', () => {
  test('is raw as text, plain as lines', async () => {
    await write('\x1b[2J\x1b[1;1Hone\r\n10%\r20%\r\n\n\rthree\ttab\x08\r\n', 'four')
    await serial.waitFor('four')
    expect(serial.text).toBe('\x1b[2J\x1b[1;1Hone\r\n10%\r20%\r\n\n\rthree\ttab\x08\r\nfour')
    expect(serial.lines()).toEqual(['one', '10%', '20%', '', 'three\ttab', 'four'])
    expect(serial.tail(2)).toEqual(['three\ttab', 'four'])
  })

  test('goes on over a power cut, on a new line and without what was half sent', async () => {
    await write('first boot\x1b[3')
    guest.destroy()
    await sleep(10)
    guest = await switchOn()
    await write('second boot\n')
    await serial.waitFor('second')
    expect(serial.lines()).toEqual(['first boot', 'second boot'])
  })

  test('is given to listeners as it comes, until they stop', async () => {
    const seen: string[] = []
    const stop = serial.onText((text) => seen.push(text))
    await write('one')
    stop()
    await write('two')
    expect(seen).toEqual(['one'])
  })

  test('can be read line by line to its end', async () => {
    const reading = (async () => {
      const lines: string[] = []
      for await (const line of serial) lines.push(line)
      return lines
    })()
    await write('one\r\ntw', 'o\r\nthr')
    serial.close()
    expect(await reading).toEqual(['one', 'two', 'thr'])
  })

  test('can be left in the middle of reading it by lines', async () => {
    await write('one\ntwo\n')
    for await (const line of serial) {
      expect(line).toBe('one')
      break
    }
  })
})

describe('writing', () => {
  test('reaches the guest', async () => {
    const typed = new Promise((resolve) => guest.once('data', (bytes) => resolve(String(bytes))))
    await serial.write('root\n')
    expect(await typed).toBe('root\n')
  })

  test('to a guest that is switched off is an error', async () => {
    guest.destroy()
    await sleep(10)
    await expect(serial.write('x')).rejects.toMatchObject({
      code: 'VM_NOT_RUNNING',
      message: 'the serial console is not connected\nFix: Use the console while the guest is switched on.',
    })
  })
})

describe('a flood', () => {
  /** Sends as fast as the reader takes it. */
  async function flood(chunk: Buffer, times: number): Promise<void> {
    for (let index = 0; index < times; index++) {
      if (!guest.write(chunk)) await new Promise((resolve) => guest.once('drain', resolve))
    }
  }

  test('of 100 MiB leaves the last 16 Mi characters, and a pattern behind it is still found', async () => {
    const waits = [/never here (\d+)/, 'never this', /never\s+over lines/].map((pattern) =>
      serial.waitFor(pattern, { timeout: '60s' }).catch((error) => error.message),
    )
    const found = serial.waitFor('needle', { timeout: '55s' })
    const line = `${'x'.repeat(98)}\r\n`
    // Whatever else this process has to do has its turn in between, whether the host is fast or slow.
    let turns = 0
    const timer = setInterval(() => void turns++, 5)
    await flood(Buffer.from(line.repeat(10_486)), 100)
    await write('needle\n')
    await found
    clearInterval(timer)
    expect(turns).toBeGreaterThan(100)
    expect(serial.text.length).toBeGreaterThan(15 * 1024 * 1024)
    expect(serial.text.length).toBeLessThan(17 * 1024 * 1024)
    serial.close(new Error('over'))
    expect(await Promise.all(waits)).toEqual(['over', 'over', 'over'])
  }, 60_000)

  test('of bytes without line ends, NULs and half escape sequences does not stop a wait', async () => {
    const found = serial.waitFor(/needle$/)
    await flood(Buffer.alloc(65_536), 50)
    await flood(Buffer.from('\x1b]'.repeat(32_768)), 10)
    await flood(Buffer.from('abc'.repeat(20_000)), 50)
    await write('\nneedle')
    expect((await found).line).toBe('needle')
  }, 30_000)
})
