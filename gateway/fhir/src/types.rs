//! The resource types of FHIR, and where they name a patient. Closed tables, nothing else.
//!
//! Standard: HL7 FHIR R4 (4.0.1), resource list; CompartmentDefinition/patient, with the elements
//! that the SearchParameter resources of its parameters give; RESTful API, "metadata".

use self::Role::{Party, Subject};
use crate::text;

/// The resource type that a path is about; `None` when it names none.
///
/// The first segment that is a type counts, however it is spelled. `metadata` is the
/// CapabilityStatement. Only words of [`RESOURCE_TYPES`] are returned, so that no part of a path
/// that a client wrote reaches a record.
pub fn resource_type(path: &str) -> Option<&'static str> {
    path.split('/').find_map(|segment| {
        let segment = text::decode(segment)?;
        // Where an encoded slash is allowed, it divides for whoever decodes first.
        segment.split('/').find_map(|segment| match segment {
            "metadata" => Some("CapabilityStatement"),
            segment => Type::of(segment).map(Type::name),
        })
    })
}

/// One of [`RESOURCE_TYPES`], by its place in the list.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct Type(u8);

impl Type {
    /// The type of this name; case counts (R4, "Resource Types").
    pub fn of(name: &str) -> Option<Type> {
        if !name.starts_with(|first: char| first.is_ascii_uppercase()) {
            return None;
        }
        let at = RESOURCE_TYPES.binary_search(&name).ok()?;
        u8::try_from(at).ok().map(Type)
    }

    /// Its name.
    pub fn name(self) -> &'static str {
        RESOURCE_TYPES[usize::from(self.0)]
    }

    /// Whether this is Patient.
    pub fn is_patient(self) -> bool {
        self.name() == "Patient"
    }

    /// Whether this is Group, which stands for its members.
    pub fn is_group(self) -> bool {
        self.name() == "Group"
    }

    /// Whether its instances concern no patient, whatever they say. A type that is not listed as
    /// such may concern one.
    pub fn is_impersonal(self) -> bool {
        IMPERSONAL.binary_search(&self.name()).is_ok()
    }

    /// What a search parameter of this type refers to; `None` when it is neither of the
    /// compartment nor a parameter that means a patient on every type.
    pub fn parameter(self, name: &str) -> Option<Role> {
        if matches!(name, "patient" | "subject") {
            return Some(Subject);
        }
        let mut rows = COMPARTMENT.iter().chain(BESIDE);
        rows.find(|row| row.resource == self.name() && row.parameter == name)
            .map(|row| row.role)
    }
}

/// A set of resource types.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Types([u64; 3]);

impl Types {
    /// Adds a type.
    pub fn insert(&mut self, resource: Type) {
        self.0[usize::from(resource.0 / 64)] |= 1 << (resource.0 % 64);
    }

    /// Whether the type is in the set.
    pub fn contains(self, resource: Type) -> bool {
        self.0[usize::from(resource.0 / 64)] & 1 << (resource.0 % 64) != 0
    }

    /// The names of its types, in the order of the list.
    pub fn names(self) -> impl Iterator<Item = &'static str> {
        (0_u8..)
            .zip(RESOURCE_TYPES)
            .filter(move |(at, _)| self.contains(Type(*at)))
            .map(|(_, name)| *name)
    }
}

/// Who stands in an element.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Role {
    /// Whom the resource is about.
    Subject,
    /// Somebody with a part in it, who may be a patient and often is not.
    Party,
}

/// Where resources of a type name a patient.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Row {
    /// The resource type.
    pub resource: &'static str,
    /// The search parameter.
    pub parameter: &'static str,
    /// The element below the resource that it looks at.
    pub element: &'static str,
    /// Who stands there.
    pub role: Role,
}

const fn row(
    resource: &'static str,
    parameter: &'static str,
    element: &'static str,
    role: Role,
) -> Row {
    Row {
        resource,
        parameter,
        element,
        role,
    }
}

/// Which resources are in the compartment of a patient, and by what (R4,
/// CompartmentDefinition/patient).
#[rustfmt::skip]
pub const COMPARTMENT: &[Row] = &[
    row("Account", "subject", "subject", Subject),
    row("AdverseEvent", "subject", "subject", Subject),
    row("AllergyIntolerance", "patient", "patient", Subject),
    row("AllergyIntolerance", "recorder", "recorder", Party),
    row("AllergyIntolerance", "asserter", "asserter", Party),
    row("Appointment", "actor", "participant.actor", Party),
    row("AppointmentResponse", "actor", "actor", Party),
    row("AuditEvent", "patient", "agent.who", Party),
    row("AuditEvent", "patient", "entity.what", Party),
    row("Basic", "patient", "subject", Subject),
    row("Basic", "author", "author", Party),
    row("BodyStructure", "patient", "patient", Subject),
    row("CarePlan", "patient", "subject", Subject),
    row("CarePlan", "performer", "activity.detail.performer", Party),
    row("CareTeam", "patient", "subject", Subject),
    row("CareTeam", "participant", "participant.member", Party),
    row("ChargeItem", "subject", "subject", Subject),
    row("Claim", "patient", "patient", Subject),
    row("Claim", "payee", "payee.party", Party),
    row("ClaimResponse", "patient", "patient", Subject),
    row("ClinicalImpression", "subject", "subject", Subject),
    row("Communication", "subject", "subject", Subject),
    row("Communication", "sender", "sender", Party),
    row("Communication", "recipient", "recipient", Party),
    row("CommunicationRequest", "subject", "subject", Subject),
    row("CommunicationRequest", "sender", "sender", Party),
    row("CommunicationRequest", "recipient", "recipient", Party),
    row("CommunicationRequest", "requester", "requester", Party),
    row("Composition", "subject", "subject", Subject),
    row("Composition", "author", "author", Party),
    row("Composition", "attester", "attester.party", Party),
    row("Condition", "patient", "subject", Subject),
    row("Condition", "asserter", "asserter", Party),
    row("Consent", "patient", "patient", Subject),
    row("Coverage", "policy-holder", "policyHolder", Party),
    row("Coverage", "subscriber", "subscriber", Party),
    row("Coverage", "beneficiary", "beneficiary", Subject),
    row("Coverage", "payor", "payor", Party),
    row("CoverageEligibilityRequest", "patient", "patient", Subject),
    row("CoverageEligibilityResponse", "patient", "patient", Subject),
    row("DetectedIssue", "patient", "patient", Subject),
    row("DeviceRequest", "subject", "subject", Subject),
    row("DeviceRequest", "performer", "performer", Party),
    row("DeviceUseStatement", "subject", "subject", Subject),
    row("DiagnosticReport", "subject", "subject", Subject),
    row("DocumentManifest", "subject", "subject", Subject),
    row("DocumentManifest", "author", "author", Party),
    row("DocumentManifest", "recipient", "recipient", Party),
    row("DocumentReference", "subject", "subject", Subject),
    row("DocumentReference", "author", "author", Party),
    row("Encounter", "patient", "subject", Subject),
    row("EnrollmentRequest", "subject", "candidate", Subject),
    row("EpisodeOfCare", "patient", "patient", Subject),
    row("ExplanationOfBenefit", "patient", "patient", Subject),
    row("ExplanationOfBenefit", "payee", "payee.party", Party),
    row("FamilyMemberHistory", "patient", "patient", Subject),
    row("Flag", "patient", "subject", Subject),
    row("Goal", "patient", "subject", Subject),
    row("Group", "member", "member.entity", Party),
    row("ImagingStudy", "patient", "subject", Subject),
    row("Immunization", "patient", "patient", Subject),
    row("ImmunizationEvaluation", "patient", "patient", Subject),
    row("ImmunizationRecommendation", "patient", "patient", Subject),
    row("Invoice", "subject", "subject", Subject),
    row("Invoice", "patient", "subject", Subject),
    row("Invoice", "recipient", "recipient", Party),
    row("List", "subject", "subject", Subject),
    row("List", "source", "source", Party),
    row("MeasureReport", "patient", "subject", Subject),
    row("Media", "subject", "subject", Subject),
    row("MedicationAdministration", "patient", "subject", Subject),
    row("MedicationAdministration", "performer", "performer.actor", Party),
    row("MedicationAdministration", "subject", "subject", Subject),
    row("MedicationDispense", "subject", "subject", Subject),
    row("MedicationDispense", "patient", "subject", Subject),
    row("MedicationDispense", "receiver", "receiver", Party),
    row("MedicationRequest", "subject", "subject", Subject),
    row("MedicationStatement", "subject", "subject", Subject),
    row("MolecularSequence", "patient", "patient", Subject),
    row("NutritionOrder", "patient", "patient", Subject),
    row("Observation", "subject", "subject", Subject),
    row("Observation", "performer", "performer", Party),
    row("Patient", "link", "link.other", Party),
    row("Person", "patient", "link.target", Party),
    row("Procedure", "patient", "subject", Subject),
    row("Procedure", "performer", "performer.actor", Party),
    row("Provenance", "patient", "target", Party),
    row("QuestionnaireResponse", "subject", "subject", Subject),
    row("QuestionnaireResponse", "author", "author", Party),
    row("RelatedPerson", "patient", "patient", Subject),
    row("RequestGroup", "subject", "subject", Subject),
    row("RequestGroup", "participant", "action.participant", Party),
    row("ResearchSubject", "individual", "individual", Subject),
    row("RiskAssessment", "subject", "subject", Subject),
    row("Schedule", "actor", "actor", Party),
    row("ServiceRequest", "subject", "subject", Subject),
    row("ServiceRequest", "performer", "performer", Party),
    row("Specimen", "subject", "subject", Subject),
    row("SupplyDelivery", "patient", "patient", Subject),
    row("SupplyRequest", "subject", "deliverTo", Party),
    row("VisionPrescription", "patient", "patient", Subject),
];

/// What is in no compartment and has a search parameter `patient` or `subject` all the same (R4,
/// SearchParameter).
#[rustfmt::skip]
pub const BESIDE: &[Row] = &[
    row("Contract", "patient", "subject", Subject),
    row("Contract", "subject", "subject", Subject),
    row("Device", "patient", "patient", Subject),
    row("GuidanceResponse", "patient", "subject", Subject),
    row("GuidanceResponse", "subject", "subject", Subject),
    row("Task", "patient", "for", Subject),
    row("Task", "subject", "for", Subject),
];

/// Definitions, terminology, products, and who gives care: their instances concern no patient.
#[rustfmt::skip]
const IMPERSONAL: &[&str] = &[
    "ActivityDefinition", "CapabilityStatement", "CatalogEntry", "ChargeItemDefinition", "CodeSystem",
    "CompartmentDefinition", "ConceptMap", "DeviceDefinition", "EffectEvidenceSynthesis", "Endpoint", "EventDefinition",
    "Evidence", "EvidenceVariable", "ExampleScenario", "GraphDefinition", "HealthcareService", "ImplementationGuide",
    "InsurancePlan", "Library", "Location", "Measure", "Medication", "MedicationKnowledge", "MedicinalProduct",
    "MedicinalProductAuthorization", "MedicinalProductContraindication", "MedicinalProductIndication",
    "MedicinalProductIngredient", "MedicinalProductInteraction", "MedicinalProductManufactured", "MedicinalProductPackaged",
    "MedicinalProductPharmaceutical", "MedicinalProductUndesirableEffect", "MessageDefinition", "NamingSystem",
    "ObservationDefinition", "OperationDefinition", "Organization", "OrganizationAffiliation", "PlanDefinition",
    "Practitioner", "PractitionerRole", "Questionnaire", "ResearchDefinition", "ResearchElementDefinition", "ResearchStudy",
    "RiskEvidenceSynthesis", "SearchParameter", "SpecimenDefinition", "StructureDefinition", "StructureMap", "Substance",
    "SubstanceNucleicAcid", "SubstancePolymer", "SubstanceProtein", "SubstanceReferenceInformation",
    "SubstanceSourceMaterial", "SubstanceSpecification", "TerminologyCapabilities", "TestReport", "TestScript", "ValueSet",
];

/// The resource types of FHIR R4, in order.
#[rustfmt::skip]
pub const RESOURCE_TYPES: &[&str] = &[
    "Account", "ActivityDefinition", "AdverseEvent", "AllergyIntolerance", "Appointment", "AppointmentResponse", "AuditEvent",
    "Basic", "Binary", "BiologicallyDerivedProduct", "BodyStructure", "Bundle",
    "CapabilityStatement", "CarePlan", "CareTeam", "CatalogEntry", "ChargeItem", "ChargeItemDefinition", "Claim", "ClaimResponse",
    "ClinicalImpression", "CodeSystem", "Communication", "CommunicationRequest", "CompartmentDefinition", "Composition",
    "ConceptMap", "Condition", "Consent", "Contract", "Coverage", "CoverageEligibilityRequest", "CoverageEligibilityResponse",
    "DetectedIssue", "Device", "DeviceDefinition", "DeviceMetric", "DeviceRequest", "DeviceUseStatement", "DiagnosticReport",
    "DocumentManifest", "DocumentReference",
    "EffectEvidenceSynthesis", "Encounter", "Endpoint", "EnrollmentRequest", "EnrollmentResponse", "EpisodeOfCare",
    "EventDefinition", "Evidence", "EvidenceVariable", "ExampleScenario", "ExplanationOfBenefit",
    "FamilyMemberHistory", "Flag",
    "Goal", "GraphDefinition", "Group", "GuidanceResponse",
    "HealthcareService",
    "ImagingStudy", "Immunization", "ImmunizationEvaluation", "ImmunizationRecommendation", "ImplementationGuide",
    "InsurancePlan", "Invoice",
    "Library", "Linkage", "List", "Location",
    "Measure", "MeasureReport", "Media", "Medication", "MedicationAdministration", "MedicationDispense", "MedicationKnowledge",
    "MedicationRequest", "MedicationStatement", "MedicinalProduct", "MedicinalProductAuthorization",
    "MedicinalProductContraindication", "MedicinalProductIndication", "MedicinalProductIngredient",
    "MedicinalProductInteraction", "MedicinalProductManufactured", "MedicinalProductPackaged", "MedicinalProductPharmaceutical",
    "MedicinalProductUndesirableEffect", "MessageDefinition", "MessageHeader", "MolecularSequence",
    "NamingSystem", "NutritionOrder",
    "Observation", "ObservationDefinition", "OperationDefinition", "OperationOutcome", "Organization", "OrganizationAffiliation",
    "Parameters", "Patient", "PaymentNotice", "PaymentReconciliation", "Person", "PlanDefinition", "Practitioner",
    "PractitionerRole", "Procedure", "Provenance",
    "Questionnaire", "QuestionnaireResponse",
    "RelatedPerson", "RequestGroup", "ResearchDefinition", "ResearchElementDefinition", "ResearchStudy", "ResearchSubject",
    "RiskAssessment", "RiskEvidenceSynthesis",
    "Schedule", "SearchParameter", "ServiceRequest", "Slot", "Specimen", "SpecimenDefinition", "StructureDefinition",
    "StructureMap", "Subscription", "Substance", "SubstanceNucleicAcid", "SubstancePolymer", "SubstanceProtein",
    "SubstanceReferenceInformation", "SubstanceSourceMaterial", "SubstanceSpecification", "SupplyDelivery", "SupplyRequest",
    "Task", "TerminologyCapabilities", "TestReport", "TestScript",
    "ValueSet", "VerificationResult", "VisionPrescription",
];

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_lists_are_in_order_and_without_repetition() {
        for list in [RESOURCE_TYPES, IMPERSONAL] {
            assert!(list.windows(2).all(|pair| pair[0] < pair[1]));
        }
        // The code system `resource-types` without its two abstract ones.
        assert_eq!(RESOURCE_TYPES.len(), 146);
        assert!(IMPERSONAL.iter().all(|name| Type::of(name).is_some()));
    }

    #[test]
    fn what_is_in_the_compartment_exists_and_is_not_impersonal() {
        for row in COMPARTMENT.iter().chain(BESIDE) {
            let resource = Type::of(row.resource).expect(row.resource);
            assert!(!resource.is_impersonal(), "{}", row.resource);
            assert!(resource.parameter(row.parameter).is_some());
        }
        let mut types: Vec<_> = COMPARTMENT.iter().map(|row| row.resource).collect();
        types.dedup();
        // 145 resources are listed by the definition, of which so many have criteria.
        assert_eq!((types.len(), COMPARTMENT.len()), (66, 101));
    }

    #[test]
    fn a_parameter_means_what_it_means_on_its_type() {
        let of = |name, parameter| Type::of(name).and_then(|it| it.parameter(parameter));
        assert_eq!(of("Observation", "patient"), Some(Subject));
        assert_eq!(of("Observation", "performer"), Some(Party));
        assert_eq!(of("Coverage", "beneficiary"), Some(Subject));
        assert_eq!(of("Observation", "beneficiary"), None);
        assert_eq!(of("Task", "patient"), Some(Subject));
        assert_eq!(of("Observation", "code"), None);
    }

    #[test]
    fn a_type_is_recognized_and_an_identifier_is_not() {
        assert_eq!(resource_type("/fhir/Patient/1"), Some("Patient"));
        assert_eq!(resource_type("/fhir/Observation"), Some("Observation"));
        assert_eq!(resource_type("/fhir/metadata"), Some("CapabilityStatement"));
        assert_eq!(resource_type("/fhir/Patient/Device"), Some("Patient"));
        assert_eq!(resource_type("/fhir/%50atient/1"), Some("Patient"));
        assert_eq!(resource_type("/fhir/x%2FPatient"), Some("Patient"));
        assert_eq!(resource_type("/fhir/patient/1"), None);
        assert_eq!(resource_type("/fhir/Mustermann"), None);
        assert_eq!(resource_type("/"), None);
    }

    #[test]
    fn a_set_of_types_holds_what_was_put_in() {
        let mut types = Types::default();
        for name in ["VisionPrescription", "Account", "Patient"] {
            types.insert(Type::of(name).unwrap());
        }
        let names: Vec<_> = types.names().collect();
        assert_eq!(names, ["Account", "Patient", "VisionPrescription"]);
    }
}
