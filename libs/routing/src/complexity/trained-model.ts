import weights from '../generated/complexity-weights.json' with { type: 'json' }
import { unpackModel } from './packed-model.ts'

/** The committed weights, read once; `npm run train:complexity` writes them. */
export const trainedModel = unpackModel(weights)
