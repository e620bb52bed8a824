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
  guest = await powerOn()
})

afterEach(async () => {
  guest.destroy()
  serial.close()
  await listener.close()
  rmSync(directory, { recursive: true })
})

/** Connects like QEMU. */
async function powerOn(): Promise<Socket> {
  const peer = connect(listener.path)
  serial.attach(await listener.accept({ timeoutMs: 1000 }))
  return peer
}

/** Maximum number of pauses for a chunk to arrive. A part of a character does not change the text. */
const MAX_PAUSES = 100

/** Writes chunks one by one, each after the console has read the previous one. */
async function write(...pieces: Array<string | Buffer>): Promise<void> {
  for (const piece of pieces) {
    const { length } = serial.text
    guest.write(piece)
    for (let pauses = 0; pauses < MAX_PAUSES; pauses++) {
      await sleep(3)
      if (serial.text.length !== length) break
    }
  }
}

describe('waitFor', () => {
  test('`waitFor()` matches earlier output from the first byte on', async () => {
    await write('SeaBIOS\r\n', 'Linux version 6.1\r\n')
    await serial.waitFor('Linux')
    const { text, line, match } = await serial.waitFor(/Sea(BIOS)/)
    expect({ text, line, group: match[1] }).toEqual({ text: 'SeaBIOS', line: 'SeaBIOS', group: 'BIOS' })
  })

  test('`waitFor()` matches output that arrives byte by byte', async () => {
    const found = serial.waitFor(/login: $/)
    await write(...'debian login: '.split(''))
    expect((await found).line).toBe('debian login: ')
  })

  test('`waitFor()` searches only after a mark, or only later output', async () => {
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

  test('`waitFor()` continues from the end of a match', async () => {
    await write('a1 a2 a3\n')
    const first = await serial.waitFor(/a\d/)
    const second = await serial.waitFor(/a\d/, { from: first.end })
    expect([first.text, second.text]).toEqual(['a1', 'a2'])
  })

  test('`waitFor()` matches a string literally', async () => {
    await write('[    0.00] (a+b)? $x\n')
    expect((await serial.waitFor('[    0.00] (a+b)? $x')).text).toBe('[    0.00] (a+b)? $x')
  })

  test('`waitFor()` neither uses nor changes the state of the flags g and y', async () => {
    await write('one two\n')
    const pattern = /two/g
    pattern.lastIndex = 100
    await serial.waitFor(pattern)
    await serial.waitFor(/two/y)
    expect(pattern.lastIndex).toBe(100)
  })

  test('`waitFor()` matches ^ and $ only at line boundaries', async () => {
    await write('not done\r\ndone\r\n')
    expect((await serial.waitFor(/^done$/)).line).toBe('done')
    await write('x')
    const mark = serial.mark()
    const found = serial.waitFor(/^middle/, { from: mark, timeout: 60 })
    await write('middle')
    await expect(found).rejects.toMatchObject({ code: 'SERIAL_TIMEOUT' })
  })

  test('`waitFor()` matches a pattern over several lines that arrive separately', async () => {
    const found = serial.waitFor(/begin\n.*\nend/)
    const classes = serial.waitFor(/begin[^x]+end/)
    await write('beg', 'in\r', '\nmiddle\r\n', 'en', 'd\r\n')
    expect((await found).text).toBe('begin\nmiddle\nend')
    expect((await classes).text).toBe('begin\nmiddle\nend')
  })

  test('`waitFor()` ignores colors, cursor movements and titles, even if split', async () => {
    const found = serial.waitFor('[  OK  ] Started demo.service')
    await write(
      '\x1b]0;title',
      '\x07[\x1b[0;3',
      '2m  OK  \x1b[',
      '0m] Started \x1b[0;1;39mdemo.service\x1b[0m.\r\n',
    )
    expect((await found).line).toBe('[  OK  ] Started demo.service.')
  })

  test('the console decodes split UTF-8, NUL and invalid bytes', async () => {
    const found = serial.waitFor('grün € ok')
    const bytes = Buffer.from('grün € ok\n')
    await write(...Array.from(bytes, (byte) => Buffer.from([byte])))
    await found
    await write(Buffer.from([0, 0xff, 0xfe, 0x80, 0, 0x41, 0x0a]))
    expect((await serial.waitFor(/^.*A$/)).text).toBe('\ufffd\ufffd\ufffdA')
  })

  test('`waitFor()` times out with the last lines and the silence', async () => {
    await write('Booting from Hard Disk...\r\n', '\r\n', 'No bootable device.\r\n')
    const error = await serial.waitFor(/login:/, { timeout: '60ms' }).catch((caught) => caught)
    expect(error.code).toBe('SERIAL_TIMEOUT')
    expect(error.message.replace(/\d+ ms ago/, 'N ms ago')).toBe(
      [
        'The serial console did not show the pattern within 60 ms.',
        '  Expected: /login:/',
        '  Got:      50 characters, the last one N ms ago',
        '',
        'Last lines of the serial console:',
        '  | Booting from Hard Disk...',
        '  | No bootable device.',
        '',
        'Fix: Compare the pattern with the last lines: the guest has stopped printing.',
      ].join('\n'),
    )
  })

  test('`waitFor()` reports that the guest printed nothing', async () => {
    await expect(serial.waitFor('x', { timeout: 20 })).rejects.toThrow(
      /Got: {6}no output\n(.|\n)*Fix: Let the guest write to its serial port/,
    )
  })

  test('`waitFor()` of a clone distinguishes the output from before it was cloned from no output', async () => {
    const clone = new SerialConsole({ printedBefore: Buffer.from('booted\n') })
    await expect(clone.waitFor('x', { timeout: 20 })).rejects.toThrow(
      /Got: {6}7 characters, the last one from before this guest was cloned\n(.|\n)*Fix: Compare the pattern/,
    )
  })

  test('the recent lines do not include those of the boot of a guest that is ready', async () => {
    await write('booting\n')
    expect(serial.recent(5)).toEqual(['booting'])
    serial.markReady()
    expect(serial.recent(5)).toEqual([])
    await write('one\n', '\n', 'two\n')
    expect(serial.recent(5)).toEqual(['one', 'two'])
    expect(serial.recent(1)).toEqual(['two'])
    expect(serial.tail(3)).toEqual(['booting', 'one', 'two'])
  })

  test('`waitFor()` rejects an empty pattern and an invalid timeout', async () => {
    await expect(serial.waitFor('')).rejects.toMatchObject({ code: 'INVALID_OPTIONS' })
    await expect(serial.waitFor('x', { timeout: '1 fortnight' as never })).rejects.toThrow(
      'serial.waitFor() does not accept this timeout.\n  Expected: a duration such as \'30s\' or 500\n  Got:      "1 fortnight"',
    )
  })

  test('an abort and a close reject `waitFor()` with their reasons', async () => {
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

describe('log of the serial console', () => {
  test('the log is available as raw text and as plain lines', async () => {
    await write('\x1b[2J\x1b[1;1Hone\r\n10%\r20%\r\n\n\rthree\ttab\x08\r\n', 'four')
    await serial.waitFor('four')
    expect(serial.text).toBe('\x1b[2J\x1b[1;1Hone\r\n10%\r20%\r\n\n\rthree\ttab\x08\r\nfour')
    expect(serial.lines()).toEqual(['one', '10%', '20%', '', 'three\ttab', 'four'])
    expect(serial.tail(2)).toEqual(['three\ttab', 'four'])
  })

  test('the log continues after a power cut on a new line, without incomplete sequences', async () => {
    await write('first boot\x1b[3')
    guest.destroy()
    await sleep(10)
    guest = await powerOn()
    await write('second boot\n')
    await serial.waitFor('second')
    expect(serial.lines()).toEqual(['first boot', 'second boot'])
  })

  test('listeners receive console output until they are removed', async () => {
    const seen: string[] = []
    const stop = serial.onText((text) => seen.push(text))
    await write('one')
    stop()
    await write('two')
    expect(seen).toEqual(['one'])
  })

  test('the log can be iterated by line until the console is closed', async () => {
    const reading = (async () => {
      const lines: string[] = []
      for await (const line of serial) lines.push(line)
      return lines
    })()
    await write('one\r\ntw', 'o\r\nthr')
    serial.close()
    expect(await reading).toEqual(['one', 'two', 'thr'])
  })

  test('an iteration over the lines of the log can be ended early', async () => {
    await write('one\ntwo\n')
    for await (const line of serial) {
      expect(line).toBe('one')
      break
    }
  })
})

describe('writing to the serial console', () => {
  test('written bytes reach the guest', async () => {
    const typed = new Promise((resolve) => guest.once('data', (bytes) => resolve(String(bytes))))
    await serial.write('root\n')
    expect(await typed).toBe('root\n')
  })

  test('writing to a guest that is powered off is rejected', async () => {
    guest.destroy()
    await sleep(10)
    await expect(serial.write('x')).rejects.toMatchObject({
      code: 'VM_NOT_RUNNING',
      message: 'The serial console is not connected.\nFix: Use the console while the guest is running.',
    })
  })
})

describe('flood of console output', () => {
  /** Sends as fast as the reader accepts data. */
  async function flood(chunk: Buffer, times: number): Promise<void> {
    for (let index = 0; index < times; index++) {
      if (!guest.write(chunk)) await new Promise((resolve) => guest.once('drain', resolve))
    }
  }

  test('after 100 MiB of output, the last 16 Mi characters are kept and a later pattern is found', async () => {
    const waits = [/never here (\d+)/, 'never this', /never\s+over lines/].map((pattern) =>
      serial.waitFor(pattern, { timeout: '60s' }).catch((error) => error.message),
    )
    const found = serial.waitFor('needle', { timeout: '55s' })
    const line = `${'x'.repeat(98)}\r\n`
    // Other work of this process runs in between, on fast and slow hosts.
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

  test('a flood without line ends, of NULs and of incomplete sequences does not block a wait', async () => {
    const found = serial.waitFor(/needle$/)
    await flood(Buffer.alloc(65_536), 50)
    await flood(Buffer.from('\x1b]'.repeat(32_768)), 10)
    await flood(Buffer.from('abc'.repeat(20_000)), 50)
    await write('\nneedle')
    expect((await found).line).toBe('needle')
  }, 30_000)
})
