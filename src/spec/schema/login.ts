import { z } from 'zod'
import { isFile, isText, port, rule, text } from './rules.js'

/** How to log in by SSH. */
export const ssh = z.strictObject({
  user: text('a user name'),
  privateKey: rule<string | Buffer | { file: string }>(
    'a private key as text or bytes, or { file }',
    (value) => isText(value) || Buffer.isBuffer(value) || isFile(value),
  ),
  passphrase: text('a passphrase'),
  password: text('a password'),
  port: port(),
  hostPort: port(),
})

const isLine = (value: unknown) => isText(value) && !/[\r\n]/.test(value)

/** Who logs in on the serial console. */
export const login = z.strictObject({
  user: z.custom<string>(isLine, { error: 'a user name of one line' }),
  password: rule<string>('a password of one line', isLine),
  prompt: rule<RegExp>('a RegExp', (value) => value instanceof RegExp),
})
