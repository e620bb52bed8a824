import { readFileSync } from 'node:fs'
import { connect } from 'node:net'
import { join } from 'node:path'
import { setTimeout as sleep } from 'node:timers/promises'
import { beforeAll, describe, expect, test } from 'vitest'
import { withVM } from 'withvm'
import { buildCli } from '../support/built-cli.js'
import { listGuests, stopKeptGuests } from '../support/kept-guests.js'
import { ownTmpdir } from '../support/own-tmpdir.js'
import { runScript } from '../support/run-script.js'
import { stallEvery } from '../support/stall.js'

const LINES = 1500
/** Prints numbered lines on the serial console, then a final line. */
const PRINT = `i=0; while [ $i -lt ${LINES} ]; do i=$((i+1)); echo "numbered $i of many"; done >/dev/ttyS0; echo counted >/dev/ttyS0`
const PRINTED = Array.from({ length: LINES }, (_, index) => `numbered ${index + 1} of many`)
/** Longer than the guest needs to fill the socket of its console. */
const STALL_MS = 150
const LONG = { timeout: 100_000, interval: 200 }

beforeAll(buildCli)

function numberedLines(text: string): string[] {
  return text.split('\r\n').filter((line) => /mbered|of many/.test(line))
}

function readLog(folder: string): string {
  return readFileSync(join(folder, 'serial.log'), 'utf8')
}

describe('serial.log', () => {
  test('serial.log contains each byte of the console once while the test process reads late', async () => {
    await withVM({ image: 'tiny', log: () => {} }, async (vm) => {
      await vm.ssh(`(${PRINT}) >/dev/null 2>&1 &`)
      const stop = stallEvery(STALL_MS)
      await vm.serial.waitFor(/^counted\n/, { timeout: '100s' }).finally(stop)
      expect(readLog(vm.runFolder)).toBe(vm.serial.text)
      expect(numberedLines(readLog(vm.runFolder))).toEqual(PRINTED)
    })
  })

  test('serial.log contains each byte of the console once while the test process is stopped with SIGSTOP', async () => {
    const tmpdir = ownTmpdir()
    const source = `
      import { readFileSync } from 'node:fs'
      await withVM({ image: 'tiny' }, async (vm) => {
        await vm.ssh(${JSON.stringify(`(${PRINT}) >/dev/null 2>&1 &`)})
        await vm.serial.waitFor('numbered 50 ')
        process.stderr.write('printing')
        await vm.serial.waitFor(/^counted\\n/, { timeout: '100s' })
        process.stdout.write(readFileSync(vm.serial.logPath))
      })`
    const child = runScript(tmpdir, source, 'stopped', { WITHVM_LOG: '0' })
    await new Promise<void>((resolve) => {
      child.stderr?.on('data', (bytes: Buffer) => bytes.toString().includes('printing') && resolve())
    })
    for (let round = 0; round < 5; round++) {
      child.kill('SIGSTOP')
      await sleep(STALL_MS * 2)
      child.kill('SIGCONT')
      await sleep(STALL_MS)
    }
    const { stdout } = await child
    expect(numberedLines(stdout as string)).toEqual(PRINTED)
  })

  test('serial.log contains each byte of a kept guest once, during the handover and with a slow terminal', async () => {
    const tmpdir = ownTmpdir()
    stopKeptGuests(tmpdir)
    const source = `
      await withVM({ image: 'tiny', keepOnFailure: true }, async (vm) => {
        await vm.ssh(${JSON.stringify(`cat >/root/print; (sh /root/print) >/dev/null 2>&1 &`)}, { stdin: ${JSON.stringify(PRINT)} })
        await vm.serial.waitFor('numbered 20 ')
        throw new Error('on purpose')
      }).catch(() => {})`
    await runScript(tmpdir, source)
    const [guest] = await listGuests(tmpdir)
    if (guest === undefined) throw new Error('nothing was left running')
    const log = () => readLog(guest.runFolder)
    const untilPrinted = (times: number) =>
      expect.poll(() => log().split('\r\ncounted\r\n'), LONG).toHaveLength(times + 1)
    await untilPrinted(1)
    const logged = log().length
    const terminal = connect(join(guest.runFolder, 'tty.sock'))
    let shown = ''
    terminal.on('data', (bytes) => {
      shown += bytes.toString()
      terminal.pause()
      setTimeout(() => terminal.resume(), 20)
    })
    terminal.write('sh /root/print\r')
    await untilPrinted(2)
    await expect.poll(() => shown, LONG).toBe(log().slice(logged))
    expect(numberedLines(log())).toEqual([...PRINTED, ...PRINTED])
    terminal.destroy()
  })
})
