import { z } from 'zod'
import { findUserDataProblem, findYamlProblem, isMapping } from '../cloud-init.js'
import { isText } from './rules.js'

const userData = z
  .custom<string>((value) => value === undefined || findUserDataProblem(value) === undefined, {
    error: ({ input }) =>
      `an object, or text that begins with '#cloud-config' and is YAML, or with '#!' or another head that cloud-init knows; this is ${findUserDataProblem(input)}`,
  })
  .optional()

const yaml = (what: string) =>
  z
    .custom<string>((value) => value === undefined || isMapping(value) || isYaml(value), {
      error: ({ input }) => {
        const problem = typeof input === 'string' ? findYamlProblem(input) : undefined
        return `${what} as an object, or as YAML${problem === undefined ? '' : `; this is ${problem}`}`
      },
    })
    .optional()

const isYaml = (value: unknown) => isText(value) && findYamlProblem(value) === undefined

/** What cloud-init is given. */
export const cloudInit = z.strictObject({
  userData,
  metaData: yaml('meta data'),
  networkConfig: yaml('a network configuration'),
})
