"""The laptop: embedded AWS that runs the synthesized template, and engines in place of SageMaker's.

Half an hour, a line of code a second, in this order:

    session.py         what every command starts with: synthesize, start embedded AWS, deploy
    assembly.py        the synthesized template, and what of a template is emulated at all
    cloud.py           moto as a server in this process, with our parts in it: clients, deployment, the end
    moto_seams.py      every private name of moto that we replace, call or read; what breaks with another moto
    gaps.py            what moto's CloudFormation forgets, put back in
    states.py          Step Functions: moto's interpreter, and where it differs from AWS
    tasks.py           its tasks of SageMaker: start a job, wait, stop it, name its error
    jobs.py            SageMaker: jobs recorded by moto, done by engines, ended as SageMaker ends them
    work.py            what each kind of job does between its request and its end
    functions.py       Lambda: warm processes, calls, retries, dead letters
    runtime.py         one process of a function, under AWS's own runtime client
    events.py          EventBridge: the bus, schedules, the way to targets; duplicates and disorder on request

Looked up when the question comes:

    queues.py          SQS as Lambda reads it
    news.py            the fields of each event, as S3 and Step Functions send them
    bus.py             what rules may say, and what a target gets
    patterns.py        what their event patterns may say
    staging.py         S3 objects <-> the folders of a job
    imports.py         DynamoDB's import of lists
    quotas.py          Service Quotas, and what they refuse
    stopping.py        executions stopped, or out of time
    redrive.py         RedriveExecution
    requests.py        requests beside AWS's API model
    job_rules.py       what services ask beyond that model
    emulated.py        which members of requests are heeded here
    images.py          the images of jobs
    job_inputs.py      whether a job will find what it names
    iam/               roles that bite; its own map is in iam/__init__.py
    children.py        subprocesses that never outlive us
    reaper.py          what ends them when we were killed

What a person sees:

    __main__.py        the command line
    run.py             `run`: one execution over given files
    check.py           `check`: what a run would make of files
    up.py              `up`: everything kept running
    demo.py            `demo`: a made-up shop
    shop.py            its events
    story.py           an execution as steps that can be told
    screen.py          how they are told

engines/ are plain programs over folders, which know nothing of moto. Nothing outside this package knows that it
runs locally. docs/emulation.md says how faithful all this is.
"""
