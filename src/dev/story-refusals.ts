import { signImage } from '../cli/calls.ts';
import { refusalOf } from './refusal.ts';
import type { Scene } from './scene.ts';

/** A caller without a token, and one whose token fits no rule. */
export const tellRefusals = async ({ world, tell, reference, as }: Scene): Promise<void> => {
  const request = { image: reference, key: world.key };

  tell.step('A caller without a token asks for a signature');
  const anonymous = await refusalOf(signImage(as('nobody'), request));
  tell.check('refused: unauthenticated', anonymous.code === 'unauthenticated');
  tell.quote(anonymous.message);

  tell.step('A build of the main branch asks; its token is good, but no rule fits it');
  const denied = await refusalOf(signImage(as('main-branch'), request));
  tell.check(`refused: permission denied (${denied.reason})`, denied.code === 'permission_denied');
  tell.check('the nearest rule is named: release-images', denied.metadata.rule === 'release-images');
  tell.check(
    'and the claim that missed: ref, which was refs/heads/main',
    /claims\.ref: wanted refs\/tags\/v\*, had refs\/heads\/main/.test(denied.message),
  );
  tell.quote(denied.message);
};
