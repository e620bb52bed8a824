import { resolve } from 'node:path'
import { execa } from 'execa'
import { beforeAll, expect, test } from 'vitest'
import { reservePorts } from '../../../src/vm/port-reservation.js'
import { buildCli } from '../../support/built-cli.js'

const BUILT = resolve(import.meta.dirname, '../../../dist/src')
const FORWARD = { protocol: 'tcp', bind: '127.0.0.1', host: 18_917, guest: 80 } as const

beforeAll(buildCli)

/** Reserves the port in a process of its own, behind another program if there is one. */
async function reserveApart(before: readonly string[] = []): Promise<string> {
  const source = `
    import { reservePorts } from '${BUILT}/vm/port-reservation.js'
    const reservation = await reservePorts([${JSON.stringify(FORWARD)}]).catch(({ code }) => code)
    console.log(reservation.hostPorts ?? reservation)
    await reservation.release?.()`
  const [file = '', ...args] = [...before, process.execPath, '--input-type=module', '-e', source]
  return (await execa(file, args)).stdout
}

test('a port is reserved in one network namespace, and free in others', async () => {
  const reservation = await reservePorts([FORWARD])
  expect(await reserveApart()).toBe('PORT_UNAVAILABLE')
  expect(await reserveApart(['unshare', '--net'])).toBe('[ 18917 ]')
  await reservation.release()
})
