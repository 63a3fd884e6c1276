import { exchangeRate } from '../../examples/upstream/exchange-rate.ts'
import { prompts } from '../../src/prompts/index.ts'
import { resources } from '../../src/resources/index.ts'
import { run } from '../../src/run.ts'
import { tools } from '../../src/tools/index.ts'

/** The server as it ships, with the sample that asks the service at the address in RATES_SERVICE. */
const rates = exchangeRate(process.env['RATES_SERVICE'] ?? '')
await run({ tools: [...tools, rates], resources, prompts })
