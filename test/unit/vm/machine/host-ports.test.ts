import { resolve } from 'node:path'
import { execa } from 'execa'
import { beforeAll, expect, onTestFinished, test } from 'vitest'
import { HostPorts } from '../../../../src/vm/machine/host-ports.js'
import { buildCli } from '../../../support/built-cli.js'

const BUILT = resolve(import.meta.dirname, '../../../../dist/src')
const FORWARD = { protocol: 'tcp', bind: '127.0.0.1', host: 18_917, guest: 80 } as const

beforeAll(buildCli)

/** Reserves the port in another process, optionally wrapped in another command. */
async function reserveApart(before: readonly string[] = []): Promise<string> {
  return (await runApart('await reservation.release?.()', before)).stdout
}

function runApart(then: string, before: readonly string[] = []) {
  const source = `
    import { HostPorts } from '${BUILT}/vm/machine/host-ports.js'
    const reservation = await HostPorts.reserve([${JSON.stringify(FORWARD)}]).catch(({ code }) => code)
    console.log(reservation.numbers ?? reservation)
    ${then}`
  const [file = '', ...args] = [...before, process.execPath, '--input-type=module', '-e', source]
  return execa(file, args, { reject: false })
}

test('a port reservation applies to one network namespace', async () => {
  const reservation = await HostPorts.reserve([FORWARD])
  expect(await reserveApart()).toBe('PORT_UNAVAILABLE')
  expect(await reserveApart(['unshare', '--net'])).toBe('[ 18917 ]')
  await reservation.release()
})

test('a port reserved by a killed container is free at once, in the restarted container and outside of it', async () => {
  const container = ['unshare', '--pid', '--fork', '--mount-proc', '--kill-child']
  const killed = runApart('setInterval(() => {}, 1000)', container)
  onTestFinished(() => void killed.kill('SIGKILL'))
  await new Promise((resolve) => killed.stdout.once('data', resolve))
  killed.kill('SIGKILL')
  expect((await killed).stdout).toBe('[ 18917 ]')
  expect(await reserveApart(container)).toBe('[ 18917 ]')
  expect(await reserveApart()).toBe('[ 18917 ]')
})

test('the error of a taken port lists the ports that QEMU was given, also if none was requested', async () => {
  const free = { protocol: 'udp', bind: '127.0.0.1', host: undefined, guest: 53 } as const
  const ports = await HostPorts.reserve([free])
  onTestFinished(() => ports.release())
  const { message } = ports.inUse('Could not set up host forwarding rule', undefined)
  expect(message).toContain(
    `QEMU could not listen on udp 127.0.0.1:${ports.numbers[0]}: another program uses`,
  )
  expect(message).not.toContain('Omit `host`')
  const both = await HostPorts.reserve([FORWARD, free])
  onTestFinished(() => both.release())
  expect(both.inUse('', undefined).message).toContain(
    `QEMU could not listen on one of tcp 127.0.0.1:18917, udp 127.0.0.1:${both.numbers[1]}: another program`,
  )
  expect(both.inUse('', undefined).hint).toContain('Omit `host`')
})
