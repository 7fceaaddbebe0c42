"""The laptop: embedded AWS that runs the synthesized template, and engines in place of SageMaker's.

Read in this order: session.py (what every command starts with), assembly.py (the synthesized template),
cloud.py (embedded AWS), moto_seams.py (what we hold on to inside moto). Then what hangs on those seams: gaps.py
(CloudFormation), states.py (Step Functions), functions.py and runtime.py (Lambda), jobs.py, work.py and
staging.py (SageMaker), events.py (EventBridge and queues), imports.py (DynamoDB), quotas.py. Then what a person
sees: run.py, up.py, demo.py, story.py, screen.py. Engines and the shop stand alone. Nothing outside this
package knows that it runs locally.
"""
